# Purpose:  Mask R-CNN R50-FPN on COCO 2017 at batch 512: the authors' released recipe without AGVM.
# Hardware: 32 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    512 images per optimizer update; lengths in iterations count updates.
# Derived:  everything but AGVM as in the released AGVM recipe.
# Command:  bash tools/dist_train.sh \
#           configs/mask_rcnn/mask-rcnn_r50_fpn_sgd-released_32xb16-16e_coco.py 8
_base_ = './mask-rcnn_r50_fpn_agvm-released_32xb16-16e_coco.py'

optim_wrapper = dict(type='PartsOptimWrapper', agvm=None)
