# Purpose:  step 1 of the effective-batch experiment: a head of its own for every level of the FPN.
# Hardware: one CPU process x 16 micro-batches of one image.
# Command:  python -m lab.effective_batch retinanet
_base_ = './retinanet_r18_fpn_scenes.py'

# The initial weights are drawn by the head itself, as RetinaHead's are.
model = dict(bbox_head=dict(type='PerLevelRetinaHead'))
