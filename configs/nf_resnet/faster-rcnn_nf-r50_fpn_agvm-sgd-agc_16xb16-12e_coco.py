# Purpose:  Faster R-CNN NF-R50-FPN on COCO 2017 at batch 256: AGVM on SGD with adaptive gradient
#           clipping.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch, exactly: no
#           batch statistics.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.02 per 16 images up to batch 128, square root beyond; clip_factor = 0.01, the
#           authors' for batch 1024 to 4096; begin = end of the warm-up (2 epochs) + min(100
#           updates, half an epoch); nothing is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/faster-rcnn_nf-r50_fpn_agvm-sgd-agc_16xb16-12e_coco.py 8
_base_ = './faster-rcnn_nf-r50_fpn_agvm-sgd-agc_8xb4-12e_coco.py'

total_batch_size = 256
train_dataloader = dict(batch_size=16)

optim_wrapper = dict(optimizer=dict(lr=0.16 * (256 / 128) ** 0.5), agvm=dict(begin=1018))
