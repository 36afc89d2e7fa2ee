# A Panoptic FPN for a CPU: ResNet-18-FPN from scratch for images of about 100 pixels. It differs
# from mmdet's own in size alone: a quarter of the backbone's width, narrow neck and heads, anchors
# from 16 pixels, 64 RoIs an image, and stuff from 64 instead of 4096 pixels.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

things, stuff, width = 6, 3, 32
model = dict(
    type='PanopticFPN',
    data_preprocessor=dict(pad_seg=True, seg_pad_value=255),
    backbone=dict(depth=18, base_channels=16, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=width),
    rpn_head=dict(
        in_channels=width,
        feat_channels=width,
        anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width),
        bbox_head=dict(in_channels=width, fc_out_channels=128, num_classes=things),
        mask_roi_extractor=dict(out_channels=width),
        mask_head=dict(
            num_convs=2, in_channels=width, conv_out_channels=width, num_classes=things)),
    semantic_head=dict(
        type='PanopticFPNHead',
        num_things_classes=things,
        num_stuff_classes=stuff,
        in_channels=width,
        inner_channels=width,
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
        loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.5)),
    panoptic_fusion_head=dict(
        type='HeuristicFusionHead', num_things_classes=things, num_stuff_classes=stuff),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=400, max_per_img=200),
        rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(
        rpn=dict(nms_pre=400, max_per_img=200),
        rcnn=dict(score_thr=0.6, nms=dict(class_agnostic=True)),
        panoptic=dict(mask_overlap=0.5, stuff_area_limit=64)))
