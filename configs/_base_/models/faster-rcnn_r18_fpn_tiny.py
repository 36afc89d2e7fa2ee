# The smallest Faster R-CNN that still learns scenes of 64 pixels: three stages of ResNet-18 at half
# width from scratch, FPN of three levels and 32 channels, one sample a RoIAlign bin, 32 RoIs and 64
# proposals an image. One million parameters.
_base_ = './faster-rcnn_r18_fpn_small.py'

model = dict(
    backbone=dict(
        base_channels=32,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(0, 1, 2)),
    neck=dict(in_channels=[32, 64, 128], out_channels=32, num_outs=3),
    rpn_head=dict(
        in_channels=32,
        feat_channels=32,
        anchor_generator=dict(strides=[4, 8, 16])),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=1),
            out_channels=32,
            featmap_strides=[4, 8, 16],
            finest_scale=16),
        bbox_head=dict(in_channels=32, fc_out_channels=128)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=100, max_per_img=64),
        rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=64), rcnn=dict(max_per_img=20)))
