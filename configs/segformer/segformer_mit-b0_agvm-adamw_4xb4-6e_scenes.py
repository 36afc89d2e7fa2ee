# Purpose:  a small SegFormer from scratch on generated scenes: AGVM on AdamW.
# Hardware: 4 processes x 4 images, or one that accumulates gradients; a CPU will do.
# Batch:    16 images per optimizer update.
# Expected: mIoU 20.9, seed 0.
# Command:  bash tools/dist_train.sh \
#           configs/segformer/segformer_mit-b0_agvm-adamw_4xb4-6e_scenes.py 4
_base_ = [
    '../_base_/models/segformer_mit-b0_small.py',
    '../_base_/datasets/scenes_semantic.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/scenes_6e.py',
]

train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(pos_block=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='CheckpointHook', interval=2, max_keep_ckpts=2))
custom_hooks = [dict(type='SeedEpochHook')]
