# Purpose:  the curriculum in miniature: the same Semantic FPN on crops that grow from 3/7 of their
#           size, for the same compute.
# Hardware: 1 CPU process x 8 images.
# Batch:    8 images per optimizer update.
# Expected: mIoU 35.6 +- 0.1, seeds 0 to 2 (docs/curriculum.md).
# Command:  python -m lab.curriculum_benchmark segmentation OUT
_base_ = './fpn_r18_sgd_1xb8-40e_camvid.py'

model = dict(data_preprocessor=dict(type='LowFreqSegDataPreprocessor'))
default_hooks = dict(param_scheduler=dict(type='ComputeParamSchedulerHook'))
custom_hooks = [
    dict(type='SeedEpochHook'),
    dict(type='CurriculumHook', stages='efficienttrain++')
]
