# faster-rcnn_r18_fpn_tiny.py without normalisation: three stages of NF-ResNet-18 at half width.
_base_ = './faster-rcnn_r18_fpn_tiny.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='NFResNet',
        depth=18,
        base_channels=32,
        out_indices=(0, 1, 2)))
