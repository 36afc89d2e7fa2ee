# The detector of mmdet with NF-ResNet-50; docs/nfnet.md says how the checkpoint is made from
# timm's nf_resnet50.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='NFResNet',
        depth=50,
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/nf_resnet50.pth')))
