# Purpose:  RetinaNet R50-FPN on COCO 2017 at batch 512: AGVM and K-FAC on SGD.
# Hardware: 32 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    512 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr and clipping of the AGVM recipe; damping, intervals and kl_clip as in public
#           classification examples of K-FAC, not tuned on detection.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r50_fpn_agvm-kfac-sgd_32xb16-12e_coco.py 8
_base_ = './retinanet_r50_fpn_agvm-sgd_32xb16-12e_coco.py'

optim_wrapper = dict(
    kfac=dict(damping=1e-3, statistics_interval=10, inverse_interval=100, kl_clip=1e-3))
custom_hooks = [dict(type='KFACStateHook')]
