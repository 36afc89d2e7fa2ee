# Purpose:  RetinaNet R50-FPN on COCO 2017 at batch 2048: AGVM on SGD.
# Hardware: 128 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    2048 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 per 16 images up to batch 128, square root beyond, the rule behind the
#           released recipes; begin = end of the warm-up (2 epochs) + min(100 updates, half an
#           epoch); clipping from as many updates before the end of the warm-up to as many after it;
#           interval = 5 above batch 1024.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r50_fpn_agvm-sgd_128xb16-12e_coco.py 8
_base_ = './retinanet_r50_fpn_agvm-sgd_8xb4-12e_coco.py'

total_batch_size = 2048
train_dataloader = dict(batch_size=16)

optim_wrapper = dict(
    optimizer=dict(lr=0.08 * (2048 / 128) ** 0.5),
    agvm=dict(interval=5, begin=145),
    clip_grad=dict(begin=87, end=146))

default_hooks = dict(logger=dict(interval=10))
