# The scenes of scenes_detection.py, six shapes as things and three backgrounds as stuff. Objects
# come from the instance file and stuff from the semantic maps, because MMDetection's
# LoadPanopticAnnotations and CocoPanopticMetric need the package panopticapi.
_base_ = './scenes_detection.py'
data_root = '{{$AGVM_MM_DATA:data}}/scenes/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, with_seg=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale_factor=1.0),  # writes the scale factor that evaluation divides by
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(seg='annotations/semantic_train2017/'), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True,
    type='PanopticQualityMetric',
    ann_file=data_root + 'annotations/panoptic_val2017.json',
    seg_prefix=data_root + 'annotations/panoptic_val2017/')
test_evaluator = val_evaluator
