# Purpose:  Mask R-CNN R50-FPN on COCO 2017 at batch 32: AGVM on SGD.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.02 per 16 images; begin = end of the warm-up (2 epochs) + min(100 updates, half
#           an epoch); clipping from as many updates before the end of the warm-up to as many after
#           it.
# Command:  bash tools/dist_train.sh \
#           configs/mask_rcnn/mask-rcnn_r50_fpn_agvm-sgd_8xb4-12e_coco.py 8
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 32
train_dataloader = dict(batch_size=4)

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.02 * 32 / 16, momentum=0.9, weight_decay=1e-4),
    agvm=dict(anchor='backbone', estimator='all_pairs', interval=10, begin=7430, momentum=0.97),
    clip_grad=dict(max_norm=1.0, norm_type=2, begin=7230, end=7431))

param_scheduler = [
    dict(
        type='ExponentialWarmupLR',
        ratio=0.001,
        begin=0,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
]
auto_scale_lr = None  # lr belongs to total_batch_size
