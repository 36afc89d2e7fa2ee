# Purpose:  step 2 of the effective-batch experiment: few proposals and no FPN. As for RetinaNet the
#           backbone's last stage keeps stride 16 by dilation. The RPN has nine anchors at a pixel
#           of the one level where it had three at each of five levels, so that its two output
#           convolutions change their shape; nothing else does but the neck.
# Hardware: one CPU process x 16 micro-batches of one image.
# Command:  python -m lab.effective_batch faster-rcnn
_base_ = './faster-rcnn_r18_fpn-few-proposals_scenes.py'

model = dict(
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    neck=dict(
        _delete_=True,
        type='SingleLevelNeck',
        in_channels=[32, 64, 128, 256],
        out_channels=64),
    rpn_head=dict(anchor_generator=dict(scales=[1, 2, 4], strides=[16])),
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[16])))
