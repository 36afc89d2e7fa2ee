# Purpose:  a small DINO from scratch on generated scenes: AGVM on AdamW.
# Hardware: 4 processes x 4 images, or one that accumulates gradients; a CPU will do.
# Batch:    16 images per optimizer update.
# Expected: box AP 0.1, seed 0: 150 updates are few for a DINO.
# Command:  bash tools/dist_train.sh \
#           configs/dino/dino_r18_agvm-adamw_4xb4-6e_scenes.py 4
_base_ = [
    '../_base_/models/dino_r18_small.py',
    '../_base_/datasets/scenes_detection.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/schedules/scenes_6e.py',
]

train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4), clip_grad=dict(max_norm=0.1))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='CheckpointHook', interval=2, max_keep_ckpts=2))
custom_hooks = [dict(type='SeedEpochHook'), dict(type='ExactAccumulationHook')]
