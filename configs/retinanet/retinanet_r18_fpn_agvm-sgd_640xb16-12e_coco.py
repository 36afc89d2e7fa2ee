# Purpose:  RetinaNet R18-FPN on COCO 2017 at batch 10,240: AGVM on SGD.
# Batch:    10240 images an update on 640 GPUs x 16; all else follows by rule from the recipe at
#           batch 16 (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r18_fpn_agvm-sgd_640xb16-12e_coco.py 8
_base_ = './retinanet_r18_fpn_agvm-sgd_8xb2-12e_coco.py'

total_batch_size = 10240
train_dataloader = dict(batch_size=16)
auto_scale_lr = dict(enable=True)
