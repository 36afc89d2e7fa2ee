# A Semantic FPN for a CPU: ResNet-18 at half width from scratch, FPN and head of 32 channels, plain
# batch norm. Three million parameters.
_base_ = 'mmseg::_base_/models/fpn_r50.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    backbone=dict(type='ResNet', depth=18, base_channels=32, norm_cfg=norm_cfg),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=32),
    decode_head=dict(in_channels=[32] * 4, channels=32, norm_cfg=norm_cfg))
