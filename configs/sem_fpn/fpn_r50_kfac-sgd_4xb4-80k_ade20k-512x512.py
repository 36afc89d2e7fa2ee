# Purpose:  Semantic FPN R50 on ADE20K: K-FAC on SGD.
# Batch:    16 images an update on 4 GPUs x 4; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/sem_fpn/fpn_r50_kfac-sgd_4xb4-80k_ade20k-512x512.py 4
_base_ = [
    '../_base_/models/fpn_r50_ade20k.py',
    'mmseg::_base_/datasets/ade20k.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/ade20k_80k.py',
    '../_base_/methods/kfac-sgd.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=5e-4), clip_grad=None)
