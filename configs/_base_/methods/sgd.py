# SGD at batch 16, as mmdet trains its detectors.
optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    # On COCO from 100 updates before the end of the warm-up to 100 after it, both included
    clip_grad=dict(max_norm=1.0, norm_type=2, begin=14560, end=14761))
