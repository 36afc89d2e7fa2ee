# The small detector of tests/training under a curriculum of three stages, AGVM and EMA on.
_base_ = '../training/tiny_faster_rcnn.py'

model = dict(data_preprocessor=dict(type='LowFreqDetDataPreprocessor', pad_size_divisor=8))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='RandomFlip', prob=0.5),
            dict(
                type='GrowingAugment',
                transforms=[
                    dict(
                        type='RandAugment',
                        aug_space=[
                            [dict(type='Color')],
                            [dict(type='Brightness')],
                            [dict(type='Rotate')],
                        ],
                    )
                ],
            ),
            dict(
                type='PackDetInputs',
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'flip',
                    'flip_direction',
                ),
            ),
        ]
    )
)
# At full size 3 epochs; 2 + 2 + 2 epochs of images at half, 0.7 and full size cost 3.48.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=5, by_epoch=False),
    dict(type='MultiStepLR', begin=0, end=3, by_epoch=True, milestones=[2], gamma=0.1),
]
train_cfg = dict(max_epochs=3)
default_hooks = dict(param_scheduler=dict(type='ComputeParamSchedulerHook'))
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='CurriculumHook',
        budget=3.48 / 3,
        statistics='restart',
        stages=[
            dict(share=0.5 / 3.48, ratio=0.5, strength=[0, 3]),
            dict(share=0.98 / 3.48, ratio=0.7, strength=[5]),
            dict(share=2 / 3.48, ratio=1, strength=[9]),
        ],
    ),
]
