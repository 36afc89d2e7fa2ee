# Purpose:  a small Faster R-CNN with NF-ResNet-18 from scratch on generated scenes, with AGVM and
#           adaptive gradient clipping: the twin without batch statistics of
#           faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py.
# Hardware: 2 CPU processes x 4 images.
# Batch:    8 images per optimizer update.
# Expected: not measured yet.
# Derived:  clip_factor = 0.02, larger than at batch 1024; skip gains and box regression start at or
#           near 0, from where a clipped gradient would hardly move them in 500 updates.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/faster-rcnn_nf-r18_fpn_agvm-sgd-agc_2xb4-10e_scenes.py 2
_base_ = '../faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py'

model = dict(backbone=dict(_delete_=True, type='NFResNet', depth=18))
optim_wrapper = dict(
    clip_grad=dict(
        _delete_=True, type='agc', clip_factor=0.02, exclude=['pred', 'skipinit_gain']))
