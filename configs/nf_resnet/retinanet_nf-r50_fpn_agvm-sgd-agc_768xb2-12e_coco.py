# Purpose:  RetinaNet NF-R50-FPN on COCO 2017 at batch 1536: AGVM on SGD with adaptive gradient
#           clipping.
# Hardware: 768 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch, exactly: no
#           batch statistics.
# Batch:    1536 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 per 16 images up to batch 128, square root beyond; clip_factor = 0.01, the
#           authors' for batch 1024 to 4096; begin = end of the warm-up (2 epochs) + min(100
#           updates, half an epoch); interval = 5 above batch 1024; nothing is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/retinanet_nf-r50_fpn_agvm-sgd-agc_768xb2-12e_coco.py 8
_base_ = './retinanet_nf-r50_fpn_agvm-sgd-agc_8xb4-12e_coco.py'

total_batch_size = 1536
train_dataloader = dict(batch_size=2)

optim_wrapper = dict(
    optimizer=dict(lr=0.08 * (1536 / 128) ** 0.5),
    agvm=dict(interval=5, begin=192))

default_hooks = dict(logger=dict(interval=10))
