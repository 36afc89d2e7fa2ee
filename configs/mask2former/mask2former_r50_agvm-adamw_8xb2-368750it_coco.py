# Purpose:  Mask2Former R50 on instances of COCO 2017: AGVM on AdamW.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/mask2former/mask2former_r50_agvm-adamw_8xb2-368750it_coco.py 8
_base_ = './mask2former_r50_adamw_8xb2-368750it_coco.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(interval='by_batch', begin='after_warmup', precondition=True))
