# Purpose:  Cascade Mask R-CNN Swin-L on COCO 2017 at batch 960: AGVM on AdamW, a detector of 249
#           million parameters in the place of the paper's one billion.
# Hardware: 480 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    960 images per optimizer update; lengths in iterations count updates.
# Expected: not known for this model; the paper's UniNet-G: box AP 62.2 (abstract) in 3.5 hours
#           (project page) on 480 A100 (press article).
# Derived:  lr = 1e-4 at batch 16 and weight_decay = 0.05 (mmdet's Swin recipes), square root for
#           others; 11 epochs, about the 1,349 updates of the paper's run (secondary source); begin
#           = end of the warm-up (2 epochs) + min(100 updates, half an epoch).
# Command:  bash tools/dist_train.sh \
#           configs/cascade_rcnn/cascade-mask-rcnn_swin-l_fpn_agvm-adamw_480xb2-11e-amp_coco.py 8
_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 960
train_dataloader = dict(batch_size=2)

# The largest backbone of mmdet itself that has public weights
model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        pretrain_img_size=384,
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        with_cp=True,  # activation checkpointing
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
            'swin_large_patch4_window12_384_22k.pth')),
    neck=dict(in_channels=[192, 384, 768, 1536]))

optim_wrapper = dict(
    type='AGVMAmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=1e-4 * (960 / 16) ** 0.5, weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            'relative_position_bias_table': dict(decay_mult=0.0),
            'norm': dict(decay_mult=0.0)
        }),
    agvm=dict(
        anchor='backbone',
        estimator='all_pairs',
        interval=10,
        begin=307,
        momentum=0.97,
        precondition=True))  # measure the gradient as AdamW scales it

param_scheduler = [
    dict(
        type='ExponentialWarmupLR',
        ratio=0.001,
        begin=0,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(type='MultiStepLR', begin=0, end=11, by_epoch=True, milestones=[8, 10], gamma=0.1)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=11, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(logger=dict(interval=10))
