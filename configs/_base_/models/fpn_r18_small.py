# A Semantic FPN for a CPU: ResNet-18 of half the width from scratch, narrow neck and head.
_base_ = 'mmseg::_base_/models/fpn_r50.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(176, 176)),
    backbone=dict(
        type='ResNet', depth=18, base_channels=32, norm_cfg=norm_cfg, style='pytorch'),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    decode_head=dict(
        in_channels=[64, 64, 64, 64], channels=32, num_classes=11, norm_cfg=norm_cfg))
