# Purpose:  Mask R-CNN R50-FPN on COCO 2017 at batch 512: the authors' released recipe, to the
#           letter.
# Hardware: 32 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    512 images per optimizer update; lengths in iterations count updates.
# Command:  bash tools/dist_train.sh \
#           configs/mask_rcnn/mask-rcnn_r50_fpn_agvm-released_32xb16-16e_coco.py 8
_base_ = './mask-rcnn_r50_fpn_agvm-released_16xb16-16e_coco.py'

total_batch_size = 512

optim_wrapper = dict(
    optimizer=dict(lr=0.32),
    agvm=dict(begin=560),
    # updates 360 to 560, both included
    clip_grad=dict(begin=360, end=561))

param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=460, by_epoch=False),
    dict(type='MultiStepLR', begin=0, end=16, by_epoch=True, milestones=[12, 14], gamma=0.1)
]
