# The experiment of docs/large_batch.md on the critical batch: a tiny Semantic FPN on scenes of 32
# pixels from random weights, written for updates of one micro-batch of 16 images. The run has
# --total-batch-size 32, two sample gradients: every update measures, and none is modulated. A short
# warm-up, then a constant rate.
_base_ = [
    '../../../configs/_base_/models/fpn_r18_tiny.py',
    '../../../configs/_base_/datasets/miniature_semantic.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)
default_scope = 'mmseg'
data_root = '{{$AGVM_MM_DATA:data}}/large_batch/'
train_dataloader = dict(batch_size=16, dataset=dict(data_root=data_root))
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
visualizer = dict(_delete_=True, type='SegLocalVisualizer', name='visualizer',
    vis_backends=[dict(type='LocalVisBackend')])
model = dict(data_preprocessor=dict(size=(32, 32)), decode_head=dict(num_classes=9))

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(anchor='backbone', interval=1, momentum=0.98, apply=False),
    clip_grad=dict(max_norm=10.0))
total_batch_size = 16
param_scheduler = dict(type='LinearLR', start_factor=0.05, begin=0, end=64, by_epoch=False)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=768, val_interval=4096)
val_cfg = None
test_cfg = None
default_hooks = dict(
    logger=dict(interval=16, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=64))
log_processor = dict(by_epoch=False)
randomness = dict(seed=1000)
