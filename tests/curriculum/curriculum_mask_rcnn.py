# The small Mask R-CNN of tests/training under a curriculum.
_base_ = '../training/tiny_mask_rcnn.py'

model = dict(data_preprocessor=dict(type='LowFreqDetDataPreprocessor', pad_size_divisor=8))
param_scheduler = [dict(type='MultiStepLR', begin=0, end=2, by_epoch=True, milestones=[1])]
train_cfg = dict(max_epochs=2)
default_hooks = dict(param_scheduler=dict(type='ComputeParamSchedulerHook'))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='CurriculumHook', stages=[dict(share=0.5, ratio=0.6), dict(share=0.5, ratio=1)]),
]
