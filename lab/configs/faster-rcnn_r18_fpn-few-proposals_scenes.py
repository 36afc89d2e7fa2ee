# Purpose:  step 1 of the effective-batch experiment: 4 proposals an image instead of 64 reach the
#           loss of the detection head.
# Hardware: one CPU process x 16 micro-batches of one image.
# Command:  python -m lab.effective_batch faster-rcnn
_base_ = './faster-rcnn_r18_fpn_scenes.py'

model = dict(train_cfg=dict(rcnn=dict(sampler=dict(num=4))))
