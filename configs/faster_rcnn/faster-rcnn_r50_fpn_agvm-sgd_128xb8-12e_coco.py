# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 1024: AGVM on SGD.
# Hardware: 128 GPUs x 8 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1024 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.02 per 16 images up to batch 128, square root beyond, the rule behind the
#           released recipes; begin = end of the warm-up (2 epochs) + min(100 updates, half an
#           epoch); clipping from as many updates before the end of the warm-up to as many after it.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_agvm-sgd_128xb8-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-sgd_8xb4-12e_coco.py'

total_batch_size = 1024
train_dataloader = dict(batch_size=8)

optim_wrapper = dict(
    optimizer=dict(lr=0.16 * (1024 / 128) ** 0.5),
    agvm=dict(begin=287),
    clip_grad=dict(begin=173, end=288))

default_hooks = dict(logger=dict(interval=10))
