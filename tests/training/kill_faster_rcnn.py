# The same with a hook that can kill a rank, and without what costs time.
_base_ = './tiny_faster_rcnn.py'

custom_imports = dict(imports=['agvm_mm', 'faults'], allow_failed_imports=False)
custom_hooks = [*_base_.custom_hooks, dict(type='KillHook')]
default_hooks = dict(checkpoint=dict(interval=2))
val_dataloader = None
val_evaluator = None
val_cfg = None
