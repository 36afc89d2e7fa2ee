# A RetinaNet for a CPU: half of ResNet-18's channels, from scratch, for images of 96 to 160 pixels.
# It differs from mmdet's own in size alone: narrow neck, two convolutions a branch, anchors from 16
# pixels.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

model = dict(
    backbone=dict(
        depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, add_extra_convs='on_output'),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        anchor_generator=dict(octave_base_scale=2)))
