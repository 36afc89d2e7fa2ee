# Purpose:  RetinaNet R18-FPN on COCO 2017 at batch 10240: AGVM on SGD.
# Hardware: 640 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    10240 images per optimizer update; lengths in iterations count updates.
# Expected: box AP 26.7 at batch "10k" (secondary source; the optimizer and the settings of that run
#           are not known).
# Derived:  lr = 0.01 per 16 images up to batch 128, square root beyond, the rule behind the
#           released recipes; begin = end of the warm-up (2 epochs) + min(100 updates, half an
#           epoch); clipping from as many updates before the end of the warm-up to as many after it;
#           interval = 5 above batch 1024.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r18_fpn_agvm-sgd_640xb16-12e_coco.py 8
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 10240
train_dataloader = dict(batch_size=16)

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.08 * (10240 / 128) ** 0.5, momentum=0.9, weight_decay=1e-4),
    agvm=dict(anchor='backbone', estimator='all_pairs', interval=5, begin=30, momentum=0.97),
    clip_grad=dict(max_norm=1.0, norm_type=2, begin=18, end=31))

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

default_hooks = dict(logger=dict(interval=10))
