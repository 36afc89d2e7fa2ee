# The Mask2Former of mask2former_r18_small.py as mmseg builds it, for six things and three kinds of
# stuff.
_base_ = './mask2former_r18_small.py'

model = dict(
    _delete_=True,
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(96, 96),
        test_cfg=dict(size_divisor=32)),
    backbone={{_base_.model.backbone}},
    decode_head=dict(
        type='Mask2FormerHead',
        in_channels={{_base_.model.panoptic_head.in_channels}},
        strides={{_base_.model.panoptic_head.strides}},
        feat_channels=64,
        out_channels=64,
        num_classes=9,
        num_queries=20,
        num_transformer_feat_level=3,
        align_corners=False,
        pixel_decoder={{_base_.model.panoptic_head.pixel_decoder}},
        enforce_decoder_input_project=False,
        positional_encoding={{_base_.model.panoptic_head.positional_encoding}},
        transformer_decoder={{_base_.model.panoptic_head.transformer_decoder}},
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=2.0,
            reduction='mean',
            class_weight=[1.0] * 9 + [0.1]),
        loss_mask={{_base_.model.panoptic_head.loss_mask}},
        loss_dice={{_base_.model.panoptic_head.loss_dice}},
        train_cfg={{_base_.model.train_cfg}}),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
