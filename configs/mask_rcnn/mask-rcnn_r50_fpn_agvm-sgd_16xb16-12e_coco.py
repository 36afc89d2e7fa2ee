# Purpose:  Mask R-CNN R50-FPN on COCO 2017 at batch 256: AGVM on SGD.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.02 per 16 images up to batch 128, square root beyond, the rule behind the
#           released recipes; begin = end of the warm-up (2 epochs) + min(100 updates, half an
#           epoch); clipping from as many updates before the end of the warm-up to as many after it.
# Command:  bash tools/dist_train.sh \
#           configs/mask_rcnn/mask-rcnn_r50_fpn_agvm-sgd_16xb16-12e_coco.py 8
_base_ = './mask-rcnn_r50_fpn_agvm-sgd_8xb4-12e_coco.py'

total_batch_size = 256
train_dataloader = dict(batch_size=16)

optim_wrapper = dict(
    optimizer=dict(lr=0.16 * (256 / 128) ** 0.5),
    agvm=dict(begin=1018),
    clip_grad=dict(begin=818, end=1019))
