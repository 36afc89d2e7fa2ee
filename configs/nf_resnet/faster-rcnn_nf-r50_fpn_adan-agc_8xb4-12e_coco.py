# Purpose:  Faster R-CNN NF-R50-FPN on COCO 2017 at batch 32: Adan with adaptive gradient clipping.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, exactly: no batch
#           statistics.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 1e-3 at batch 16 (5 times that of AdamW, its authors' first try), square root for
#           others; weight_decay = 0.02; neither is tuned. clip_factor = 0.01.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/faster-rcnn_nf-r50_fpn_adan-agc_8xb4-12e_coco.py 8
_base_ = './faster-rcnn_nf-r50_fpn_agvm-sgd-agc_8xb4-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='AdanOptimizer',
        lr=1e-3 * (32 / 16) ** 0.5,
        weight_decay=0.02),
    agvm=None,
    join_groups=True)
