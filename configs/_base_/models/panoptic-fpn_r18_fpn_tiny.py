# mask-rcnn_r18_fpn_tiny.py with a head for stuff. Objects count from a score of 0.3, as these short
# trainings reach no higher, and stuff from 64 pixels.
_base_ = './mask-rcnn_r18_fpn_tiny.py'

things, stuff, width = 6, 3, 32
model = dict(
    type='PanopticFPN',
    data_preprocessor=dict(pad_seg=True, seg_pad_value=255),
    roi_head=dict(bbox_head=dict(num_classes=things), mask_head=dict(num_classes=things)),
    semantic_head=dict(
        type='PanopticFPNHead',
        num_things_classes=things,
        num_stuff_classes=stuff,
        in_channels=width,
        inner_channels=width,
        end_level=3,
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
        loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.5)),
    panoptic_fusion_head=dict(
        type='HeuristicFusionHead', num_things_classes=things, num_stuff_classes=stuff),
    test_cfg=dict(
        rcnn=dict(score_thr=0.3, nms=dict(class_agnostic=True)),
        panoptic=dict(mask_overlap=0.5, stuff_area_limit=64)))
