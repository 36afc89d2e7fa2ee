# Purpose:  the critical batch of AdamW on scenes of 32 pixels, beside the noise scales.
# Hardware: one CPU core; micro-batches of 8 images.
# Command:  python tools/train.py lab/configs/fpn_r18_adamw_critical_scenes.py \
#               --total-batch-size 32 --scale-rule sqrt
_base_ = './_base_/critical.py'
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1.4e-3, weight_decay=0.05))
