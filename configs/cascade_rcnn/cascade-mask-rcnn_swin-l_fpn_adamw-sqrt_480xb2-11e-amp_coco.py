# Purpose:  Cascade Mask R-CNN Swin-L on COCO 2017 at batch 960: AdamW with the lr of the AGVM
#           recipe, that recipe without AGVM.
# Hardware: 480 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    960 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 1e-4 at batch 16 and weight_decay = 0.05 (mmdet's Swin recipes), square root for
#           others.
# Command:  bash tools/dist_train.sh \
#           configs/cascade_rcnn/cascade-mask-rcnn_swin-l_fpn_adamw-sqrt_480xb2-11e-amp_coco.py 8
_base_ = './cascade-mask-rcnn_swin-l_fpn_agvm-adamw_480xb2-11e-amp_coco.py'

optim_wrapper = dict(type='PartsAmpOptimWrapper', agvm=None, join_groups=True)
