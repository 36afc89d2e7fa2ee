# Faster R-CNN with Swin-T, and the optimizer's options for its parameters.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

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
layer_decay = {
    **{key: dict(lr_mult=mult) for key, mult in decayed.items()},
    **{key: dict(lr_mult=mult, decay_mult=0.0) for key, mult in undecayed.items()}
}
del decayed, undecayed  # no keys of the config
