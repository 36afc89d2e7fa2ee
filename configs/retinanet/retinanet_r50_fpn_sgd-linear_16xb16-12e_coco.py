# Purpose:  RetinaNet R50-FPN on COCO 2017 at batch 256: SGD with linear scaling of lr.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 per 16 images.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r50_fpn_sgd-linear_16xb16-12e_coco.py 8
_base_ = './retinanet_r50_fpn_agvm-sgd_16xb16-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None, optimizer=dict(lr=0.01 * 256 / 16))
