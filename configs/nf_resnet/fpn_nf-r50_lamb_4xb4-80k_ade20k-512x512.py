# Purpose:  Semantic FPN NF-R50 on ADE20K: LAMB.
# Batch:    16 images an update on 4 GPUs x 4; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/fpn_nf-r50_lamb_4xb4-80k_ade20k-512x512.py 4
_base_ = [
    '../_base_/models/fpn_nf-r50_ade20k.py',
    'mmseg::_base_/datasets/ade20k.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/ade20k_80k_to-zero.py',
    '../_base_/methods/lamb_nf-resnet.py',
]
