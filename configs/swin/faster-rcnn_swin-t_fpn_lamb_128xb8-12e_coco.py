# Purpose:  Faster R-CNN Swin-T on COCO 2017 at batch 1024: LAMB, with the layer decay of the AdamW
#           recipe.
# Hardware: 128 GPUs x 8 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    1024 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.005 at batch 512, square root for others; weight_decay = 0.01; neither is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/swin/faster-rcnn_swin-t_fpn_lamb_128xb8-12e_coco.py 8
_base_ = './faster-rcnn_swin-t_fpn_agvm-adamw_128xb8-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LAMBOptimizer',
        lr=0.005 * (1024 / 512) ** 0.5,
        weight_decay=0.01),
    agvm=None,
    join_groups=True,
    clip_grad=None)
