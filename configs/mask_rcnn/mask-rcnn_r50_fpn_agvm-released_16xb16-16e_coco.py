# Purpose:  Mask R-CNN R50-FPN on COCO 2017 at batch 256: the authors' released recipe, to the
#           letter.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Command:  bash tools/dist_train.sh \
#           configs/mask_rcnn/mask-rcnn_r50_fpn_agvm-released_16xb16-16e_coco.py 8
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 256
train_dataloader = dict(batch_size=16, num_workers=10)

# What the authors' "_align" models change in mmdet's
model = dict(
    backbone=dict(
        norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False, frozen_stages=1),
    rpn_head=dict(
        loss_cls=dict(use_sigmoid=False),
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0)),
    roi_head=dict(
        mask_roi_extractor=dict(roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(
            loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1.0, loss_weight=1.0))),
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000)),
    test_cfg=dict(rcnn=dict(score_thr=0.0)))

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.16 * 2**0.5, momentum=0.9, weight_decay=1e-4),
    agvm=dict(
        anchor='backbone',
        estimator='half_split',
        average='scale',
        momentum=0.97,
        interval=10,
        begin=1020,
        clamp=(0.5, 10.0),
        eps=1e-6),
    # updates 820 to 1020, both included
    clip_grad=dict(max_norm=1.0, norm_type=2, begin=820, end=1021))

param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=920, by_epoch=False),
    dict(type='MultiStepLR', begin=0, end=16, by_epoch=True, milestones=[12, 14], gamma=0.1)
]
auto_scale_lr = None  # lr belongs to total_batch_size
train_cfg = dict(max_epochs=16)
randomness = dict(seed=0)
