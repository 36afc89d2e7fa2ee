# Purpose:  a small RTMDet from scratch on generated scenes: AGVM and K-FAC on SGD.
# Hardware: 4 processes x 4 images, or one that accumulates gradients; a CPU will do.
# Batch:    16 images per optimizer update.
# Expected: not measured.
# Derived:  lr and kl_clip, with which the loss falls as fast as with AdamW; not tuned.
# Command:  bash tools/dist_train.sh \
#           configs/rtmdet/rtmdet_cspnext-s_agvm-kfac-sgd_4xb4-6e_scenes.py 4
_base_ = './rtmdet_cspnext-s_agvm-adamw_4xb4-6e_scenes.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
    agvm=dict(precondition=False),
    kfac=dict(
        damping=1e-2,
        momentum=0.8,
        statistics_interval=5,
        inverse_interval=10,
        max_size=1200,  # larger ones take a CPU too long to invert
        kl_clip=0.02))
custom_hooks = [
    dict(type='SeedEpochHook'),
    dict(type='ExactAccumulationHook'),
    dict(type='KFACStateHook')
]
