# Purpose:  RetinaNet R18-FPN on COCO 2017 at batch 10240: SGD with the lr of the AGVM recipe, that
#           recipe without AGVM.
# Hardware: 640 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    10240 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 per 16 images up to batch 128, square root beyond, the rule behind the
#           released recipes.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r18_fpn_sgd-sqrt_640xb16-12e_coco.py 8
_base_ = './retinanet_r18_fpn_agvm-sgd_640xb16-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None)
