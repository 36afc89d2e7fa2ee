# Purpose:  Faster R-CNN NF-R50-FPN on COCO 2017 at batch 32: AGVM on SGD with adaptive gradient
#           clipping.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, exactly: no batch
#           statistics.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.02 per 16 images; clip_factor = 0.01, the authors' for batch 1024 to 4096;
#           exclude = 'pred', as box regression starts near 0 (docs/agc.md); begin = end of the
#           warm-up (2 epochs) + min(100 updates, half an epoch); nothing is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/faster-rcnn_nf-r50_fpn_agvm-sgd-agc_8xb4-12e_coco.py 8
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 32
train_dataloader = dict(batch_size=4)

# docs/nfnet.md says how the checkpoint is made from timm's nf_resnet50.
model = dict(
    backbone=dict(
        _delete_=True,
        type='NFResNet',
        depth=50,
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/nf_resnet50.pth')))

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.02 * 32 / 16, momentum=0.9, weight_decay=1e-4),
    agvm=dict(anchor='backbone', estimator='all_pairs', interval=10, begin=7430, momentum=0.97),
    clip_grad=dict(type='agc', clip_factor=0.01, eps=1e-3, exclude='pred'),
    paramwise_cfg=dict(bias_decay_mult=0.0, custom_keys=dict(gain=dict(decay_mult=0.0))))

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
