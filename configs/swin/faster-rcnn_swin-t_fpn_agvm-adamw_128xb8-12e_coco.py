# Purpose:  Faster R-CNN Swin-T on COCO 2017 at batch 1024: AGVM on AdamW with layer decay.
# Hardware: 128 GPUs x 8 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1024 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 1e-4 at batch 16 and weight_decay = 0.05 (mmdet's Swin recipes), square root for
#           others; layer decay 0.8 per stage; begin = end of the warm-up (2 epochs) + min(100
#           updates, half an epoch).
# Command:  bash tools/dist_train.sh \
#           configs/swin/faster-rcnn_swin-t_fpn_agvm-adamw_128xb8-12e_coco.py 8
_base_ = './faster-rcnn_swin-t_fpn_agvm-adamw_8xb4-12e_coco.py'

total_batch_size = 1024
train_dataloader = dict(batch_size=8)

optim_wrapper = dict(optimizer=dict(lr=1e-4 * (1024 / 16) ** 0.5), agvm=dict(begin=287))

default_hooks = dict(logger=dict(interval=10))
