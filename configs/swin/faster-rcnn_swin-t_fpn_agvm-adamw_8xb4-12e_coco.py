# Purpose:  Faster R-CNN Swin-T on COCO 2017 at batch 32: AGVM on AdamW with layer decay.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    32 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 1e-4 at batch 16 and weight_decay = 0.05 (mmdet's Swin recipes), square root for
#           others; layer decay 0.8 per stage; begin = end of the warm-up (2 epochs) + min(100
#           updates, half an epoch).
# Command:  bash tools/dist_train.sh \
#           configs/swin/faster-rcnn_swin-t_fpn_agvm-adamw_8xb4-12e_coco.py 8
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 32
train_dataloader = dict(batch_size=4)

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.2,
        out_indices=(0, 1, 2, 3),
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
            'swin_tiny_patch4_window7_224.pth')),
    neck=dict(in_channels=[96, 192, 384, 768]))

# Layer decay: 0.8 per stage towards the image, the heads at the full rate. MMEngine takes the
# longest key that a name contains, so the parts without weight decay are spelled out.
decayed = {f'backbone.stages.{s}': 0.8**(4 - s) for s in range(4)}
decayed['backbone.patch_embed'] = 0.8**5
undecayed = {
    f'backbone.stages.{s}.blocks.{b}.{part}': 0.8**(4 - s)
    for s, depth in enumerate([2, 2, 6, 2])
    for b in range(depth)
    for part in ('norm1', 'norm2', 'attn.w_msa.relative_position_bias_table')
}
undecayed.update({f'backbone.stages.{s}.downsample.norm': 0.8**(4 - s) for s in range(3)})
undecayed.update({f'backbone.norm{s}': 0.8**(4 - s) for s in range(4)})
undecayed['backbone.patch_embed.norm'] = 0.8**5

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4 * (32 / 16) ** 0.5, weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            **{key: dict(lr_mult=mult) for key, mult in decayed.items()},
            **{key: dict(lr_mult=mult, decay_mult=0.0) for key, mult in undecayed.items()}
        }),
    agvm=dict(
        anchor='backbone',
        estimator='all_pairs',
        interval=10,
        begin=7430,
        momentum=0.97,
        precondition=True))  # measure the gradient as AdamW scales it
del decayed, undecayed  # no keys of the config

param_scheduler = [
    dict(
        type='ExponentialWarmupLR',
        ratio=0.001,
        begin=0,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
]
auto_scale_lr = None  # lr belongs to total_batch_size
