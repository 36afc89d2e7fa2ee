# Purpose:  Faster R-CNN Swin-T on COCO 2017 at batch 256: LAMB, with the layer decay of the AdamW
#           recipe.
# Hardware: 16 GPUs x 16 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    256 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.005 at batch 512, square root for others; weight_decay = 0.01; neither is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/swin/faster-rcnn_swin-t_fpn_lamb_16xb16-12e_coco.py 8
_base_ = './faster-rcnn_swin-t_fpn_agvm-adamw_16xb16-12e_coco.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        _delete_=True,
        type='LAMBOptimizer',
        lr=0.005 * (256 / 512) ** 0.5,
        weight_decay=0.01),
    agvm=None,
    join_groups=True,
    clip_grad=None)
