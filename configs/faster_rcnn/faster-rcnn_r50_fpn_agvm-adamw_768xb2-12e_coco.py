# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 1536: AGVM on AdamW.
# Batch:    1536 images an update on 768 GPUs x 2; all else follows by rule from the recipe at batch
#           16 (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_agvm-adamw_768xb2-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-adamw_8xb2-12e_coco.py'

total_batch_size = 1536
auto_scale_lr = dict(enable=True)
