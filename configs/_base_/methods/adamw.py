# AdamW at batch 16, with the rate of mmdet's AdamW recipe of Faster R-CNN R50.
optim_wrapper = dict(
    type='PartsOptimWrapper',
    join_groups=True,
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05))
