# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 1536: AGVM on AdamW.
# Hardware: 768 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1536 images per optimizer update; lengths in iterations count updates.
# Expected: box AP 36.6 (the paper's project page), in 4.2 minutes on 768 A100 (the paper's title
#           and press article); the settings of that run are not known.
# Derived:  lr = 2e-4 at batch 16 (mmdet's AdamW recipe of this detector), square root for others;
#           weight_decay = 0.05; begin = end of the warm-up (2 epochs) + min(100 updates, half an
#           epoch); interval = 5 above batch 1024.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_agvm-adamw_768xb2-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-adamw_8xb4-12e_coco.py'

total_batch_size = 1536
train_dataloader = dict(batch_size=2)

optim_wrapper = dict(optimizer=dict(lr=2e-4 * (1536 / 16) ** 0.5), agvm=dict(interval=5, begin=192))

default_hooks = dict(logger=dict(interval=10))
