# Purpose:  a small RTMDet from scratch on generated scenes: AGVM on AdamW.
# Hardware: 4 processes x 4 images, or one that accumulates gradients; a CPU will do.
# Batch:    16 images per optimizer update.
# Expected: not measured.
# Command:  bash tools/dist_train.sh \
#           configs/rtmdet/rtmdet_cspnext-s_agvm-adamw_4xb4-6e_scenes.py 4
_base_ = [
    '../_base_/models/rtmdet_small.py',
    '../_base_/datasets/scenes_detection.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/schedules/scenes_6e.py',
]

train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='CheckpointHook', interval=2, max_keep_ckpts=2))
custom_hooks = [dict(type='SeedEpochHook'), dict(type='ExactAccumulationHook')]
