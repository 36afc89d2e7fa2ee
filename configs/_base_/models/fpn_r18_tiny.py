# fpn_r18_small.py with an FPN of 32 channels, for images below 100 pixels.
_base_ = './fpn_r18_small.py'

model = dict(neck=dict(out_channels=32), decode_head=dict(in_channels=[32] * 4))
