# Semantic FPN with NF-ResNet-50, without normalisation in the head; docs/nfnet.md says how the
# checkpoint is made from timm's nf_resnet50.
_base_ = './fpn_r50_ade20k.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='NFResNet',
        depth=50,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/nf_resnet50.pth')),
    decode_head=dict(
        conv_cfg=dict(type='ScaledWSConv2d'),
        norm_cfg=None,
        act_cfg=dict(type='GammaAct', act='relu')))
