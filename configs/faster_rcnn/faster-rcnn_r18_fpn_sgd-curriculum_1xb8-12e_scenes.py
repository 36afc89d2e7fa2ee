# Purpose:  the curriculum in miniature: the same Faster R-CNN on scenes that grow from half their
#           size, for the same compute.
# Hardware: 1 CPU process x 8 images.
# Batch:    8 images per optimizer update.
# Expected: box AP 46.8 +- 1.9, seeds 0 to 2 (docs/curriculum.md).
# Command:  python -m lab.curriculum_benchmark detection OUT
_base_ = './faster-rcnn_r18_fpn_sgd_1xb8-12e_scenes.py'

model = dict(data_preprocessor=dict(type='LowFreqDetDataPreprocessor'))
default_hooks = dict(param_scheduler=dict(type='ComputeParamSchedulerHook'))
custom_hooks = [
    dict(type='SeedEpochHook'),
    dict(type='CurriculumHook', stages='detection')
]
