# Purpose:  a small Mask2Former from scratch on the semantic maps of generated scenes: AGVM on
#           AdamW.
# Hardware: 4 processes x 4 images, or one that accumulates gradients; a CPU will do.
# Batch:    16 images per optimizer update.
# Expected: not measured.
# Command:  bash tools/dist_train.sh \
#           configs/mask2former/mask2former_r18_agvm-adamw_4xb4-6e_scenes-semantic.py 4
_base_ = [
    '../_base_/models/mask2former_r18_small_semantic.py',
    '../_base_/datasets/scenes_semantic.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/scenes_6e.py',
]

train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    clip_grad=dict(max_norm=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            query_embed=dict(decay_mult=0.0),
            query_feat=dict(decay_mult=0.0),
            level_embed=dict(decay_mult=0.0)),
        norm_decay_mult=0.0))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='CheckpointHook', interval=2, max_keep_ckpts=2))
custom_hooks = [dict(type='SeedEpochHook'), dict(type='ExactAccumulationHook')]
