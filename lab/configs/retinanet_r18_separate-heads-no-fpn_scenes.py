# Purpose:  step 2 of the effective-batch experiment: separate heads and no FPN, which leaves one
#           level and its head. The backbone's last stage keeps stride 16 by dilation, so that one
#           level still sees small objects; no weight of the backbone changes its shape.
# Hardware: one CPU process x 16 micro-batches of one image.
# Command:  python -m lab.effective_batch retinanet
_base_ = './retinanet_r18_fpn-separate-heads_scenes.py'

model = dict(
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    neck=dict(
        _delete_=True,
        type='SingleLevelNeck',
        in_channels=[32, 64, 128, 256],
        out_channels=64),
    bbox_head=dict(
        # Nine anchors a pixel as before, now of three sizes: 16, 32 and 64 pixels.
        anchor_generator=dict(
            _delete_=True,
            type='AnchorGenerator',
            scales=[1, 2, 4],
            ratios=[0.5, 1.0, 2.0],
            strides=[16])))
