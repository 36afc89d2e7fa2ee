# The scenes of miniature_detection.py with things and stuff (see scenes_panoptic.py).
_base_ = './scenes_panoptic.py'
data_root = '{{$AGVM_MM_DATA:data}}/miniature/'

train_dataloader = dict(batch_size=8, dataset=dict(data_root=data_root))
val_dataloader = dict(batch_size=32, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + 'annotations/panoptic_val2017.json',
    seg_prefix=data_root + 'annotations/panoptic_val2017/')
test_evaluator = val_evaluator
