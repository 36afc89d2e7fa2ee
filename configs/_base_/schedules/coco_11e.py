# As coco_12e.py with 11 epochs, at batch 960 about the 1,349 updates of the paper's large run
# (secondary source).
_base_ = './coco_12e.py'

train_cfg = dict(max_epochs=11)
param_scheduler = [
    dict(
        type='ExponentialWarmupLR',
        ratio=0.001,
        begin=0,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(type='MultiStepLR', begin=0, end=11, by_epoch=True, milestones=[8, 10], gamma=0.1)
]
