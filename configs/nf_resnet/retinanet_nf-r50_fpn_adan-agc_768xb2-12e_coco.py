# Purpose:  RetinaNet NF-R50-FPN on COCO 2017 at batch 1536: Adan with adaptive gradient clipping.
# Hardware: 768 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch, exactly: no
#           batch statistics.
# Batch:    1536 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 1e-3 at batch 16 (5 times that of AdamW, its authors' first try), square root for
#           others; weight_decay = 0.02; neither is tuned. clip_factor = 0.01.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/retinanet_nf-r50_fpn_adan-agc_768xb2-12e_coco.py 8
_base_ = './retinanet_nf-r50_fpn_agvm-sgd-agc_768xb2-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='AdanOptimizer',
        lr=1e-3 * (1536 / 16) ** 0.5,
        weight_decay=0.02),
    agvm=None,
    join_groups=True)
