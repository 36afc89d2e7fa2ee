# Purpose:  RTMDet-s on COCO 2017: AGVM on AdamW.
# Batch:    256 images an update on 8 GPUs x 32; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/rtmdet/rtmdet_cspnext-s_agvm-adamw_8xb32-300e_coco.py 8
_base_ = './rtmdet_cspnext-s_adamw_8xb32-300e_coco.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(interval='by_batch', begin='after_warmup', precondition=True))
