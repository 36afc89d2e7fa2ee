# Purpose:  Semantic FPN NF-R50 on ADE20K at batch 256: LAMB.
# Hardware: 64 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, exactly: no batch
#           statistics.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.005 at batch 512, square root for others; weight_decay = 0.01; neither is tuned;
#           no clipping, the trust ratio bounds the step.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/fpn_nf-r50_lamb_64xb4-5k_ade20k-512x512.py 8
_base_ = './fpn_nf-r50_agvm-sgd-agc_64xb4-5k_ade20k-512x512.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LAMBOptimizer',
        lr=0.005 * (256 / 512) ** 0.5,
        weight_decay=0.01),
    agvm=None,
    join_groups=True,
    clip_grad=None)
