# Purpose:  Cascade Mask R-CNN Swin-L on COCO 2017 at batch 960: AGVM on AdamW.
# Batch:    960 images an update on 480 GPUs x 2; all else follows by rule from the recipe at batch
#           16 (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/cascade_rcnn/cascade-mask-rcnn_swin-l_fpn_agvm-adamw_480xb2-11e-amp_coco.py 8
_base_ = './cascade-mask-rcnn_swin-l_fpn_agvm-adamw_8xb2-11e-amp_coco.py'

total_batch_size = 960
auto_scale_lr = dict(enable=True)
