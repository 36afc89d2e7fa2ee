# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 1536: AGVM on SGD.
# Hardware: 768 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1536 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.02 per 16 images up to batch 128, square root beyond, the rule behind the
#           released recipes; begin = end of the warm-up (2 epochs) + min(100 updates, half an
#           epoch); clipping from as many updates before the end of the warm-up to as many after it;
#           interval = 5 above batch 1024.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_agvm-sgd_768xb2-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-sgd_8xb4-12e_coco.py'

total_batch_size = 1536
train_dataloader = dict(batch_size=2)

optim_wrapper = dict(
    optimizer=dict(lr=0.16 * (1536 / 128) ** 0.5),
    agvm=dict(interval=5, begin=192),
    clip_grad=dict(begin=116, end=193))

default_hooks = dict(logger=dict(interval=10))
