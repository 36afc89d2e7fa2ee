# Cascade Mask R-CNN with Swin-L, 249 million parameters: the largest backbone of mmdet itself that
# has public weights. Also the optimizer's options for its parameters.
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        pretrain_img_size=384,
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        with_cp=True,  # activation checkpointing
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
            'swin_large_patch4_window12_384_22k.pth')),
    neck=dict(in_channels=[192, 384, 768, 1536]))
undecayed = {
    'relative_position_bias_table': dict(decay_mult=0.0),
    'norm': dict(decay_mult=0.0)
}
