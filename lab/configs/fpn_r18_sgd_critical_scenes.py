# Purpose:  the critical batch of SGD on scenes of 32 pixels, beside the noise scales.
# Hardware: one CPU core; micro-batches of 8 images.
# Command:  python tools/train.py lab/configs/fpn_r18_sgd_critical_scenes.py \
#               --total-batch-size 32 --scale-rule linear
_base_ = './_base_/critical.py'
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.14, momentum=0.9, weight_decay=1e-4))
