# Purpose:  RetinaNet R50-FPN on COCO 2017 at batch 1024: SGD with the lr of the AGVM recipe, that
#           recipe without AGVM.
# Hardware: 128 GPUs x 8 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1024 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 per 16 images up to batch 128, square root beyond, the rule behind the
#           released recipes.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r50_fpn_sgd-sqrt_128xb8-12e_coco.py 8
_base_ = './retinanet_r50_fpn_agvm-sgd_128xb8-12e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None)
