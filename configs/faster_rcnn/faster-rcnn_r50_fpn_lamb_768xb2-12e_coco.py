# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 1536: LAMB.
# Hardware: 768 GPUs x 2 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1536 images per optimizer update; lengths in iterations count updates.
# Expected: box AP 33.2 (secondary source; the settings of that run are not known).
# Derived:  lr = 0.005 at batch 512, square root for others; weight_decay = 0.01; neither is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_lamb_768xb2-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_agvm-sgd_768xb2-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LAMBOptimizer',
        lr=0.005 * (1536 / 512) ** 0.5,
        weight_decay=0.01),
    agvm=None,
    clip_grad=None)
