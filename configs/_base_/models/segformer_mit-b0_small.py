# A SegFormer for a CPU: MiT-B0 of half the width with one layer a stage, from scratch.
_base_ = 'mmseg::_base_/models/segformer_mit-b0.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(embed_dims=16, num_layers=[1, 1, 1, 1]),
    decode_head=dict(
        in_channels=[16, 32, 80, 128], channels=64, num_classes=9, norm_cfg=norm_cfg))
