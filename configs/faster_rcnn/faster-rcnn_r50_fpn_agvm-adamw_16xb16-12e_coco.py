# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 256: AGVM on AdamW.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: box AP 37.2 (secondary source; the settings of that run are not known).
# Derived:  lr = 2e-4 at batch 16 (mmdet's AdamW recipe of this detector), square root for others;
#           weight_decay = 0.05; begin = end of the warm-up (2 epochs) + min(100 updates, half an
#           epoch).
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_agvm-adamw_16xb16-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-adamw_8xb4-12e_coco.py'

total_batch_size = 256
train_dataloader = dict(batch_size=16)

optim_wrapper = dict(optimizer=dict(lr=2e-4 * (256 / 16) ** 0.5), agvm=dict(begin=1018))
