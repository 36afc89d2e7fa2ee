# Purpose:  DINO R50 on COCO 2017: AGVM on AdamW.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/dino/dino_r50_agvm-adamw_8xb2-12e_coco.py 8
_base_ = './dino_r50_adamw_8xb2-12e_coco.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(interval='by_batch', begin='after_warmup', precondition=True))
