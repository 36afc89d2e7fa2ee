# Purpose:  Mask2Former R50 on ADE20K: AGVM on AdamW.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/mask2former/mask2former_r50_agvm-adamw_8xb2-160k_ade20k-512x512.py 8
_base_ = './mask2former_r50_adamw_8xb2-160k_ade20k-512x512.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(interval='by_batch', begin='after_warmup', precondition=True))
