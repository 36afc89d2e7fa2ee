# Purpose:  Semantic FPN NF-R50 on ADE20K at batch 1024: Adan with adaptive gradient clipping.
# Hardware: 256 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, exactly: no
#           batch statistics.
# Batch:    1024 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 1e-3 at batch 16 (5 times that of AdamW, its authors' first try), square root for
#           others; weight_decay = 0.02; neither is tuned. clip_factor = 0.01.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/fpn_nf-r50_adan-agc_256xb4-1250it_ade20k-512x512.py 8
_base_ = './fpn_nf-r50_agvm-sgd-agc_256xb4-1250it_ade20k-512x512.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='AdanOptimizer',
        lr=1e-3 * (1024 / 16) ** 0.5,
        weight_decay=0.02),
    agvm=None,
    join_groups=True)
