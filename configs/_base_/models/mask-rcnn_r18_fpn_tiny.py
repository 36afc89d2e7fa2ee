# faster-rcnn_r18_fpn_tiny.py with a mask head of one convolution, masks of 14 pixels.
_base_ = './faster-rcnn_r18_fpn_tiny.py'

model = dict(
    type='MaskRCNN',
    data_preprocessor=dict(pad_mask=True),
    roi_head=dict(
        mask_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=1),
            out_channels=32,
            featmap_strides=[4, 8, 16],
            finest_scale=16),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=1,
            in_channels=32,
            conv_out_channels=32,
            num_classes=80,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0))),
    train_cfg=dict(rcnn=dict(mask_size=14)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)))
