# Purpose:  step 3 of the effective-batch experiment: of the one level that is left, 75 % of the
#           pixels stay out of the loss, drawn anew in every iteration. With one level the separate
#           head is RetinaHead itself, which PixelDropRetinaHead extends.
# Hardware: one CPU process x 16 micro-batches of one image.
# Command:  python -m lab.effective_batch retinanet
_base_ = './retinanet_r18_separate-heads-no-fpn_scenes.py'

model = dict(bbox_head=dict(type='PixelDropRetinaHead', drop=0.75))
