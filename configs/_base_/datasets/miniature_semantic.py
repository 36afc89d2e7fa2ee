# The scenes of miniature_detection.py as semantic maps: six things and three kinds of stuff.
_base_ = './miniature_camvid.py'
data_root = '{{$AGVM_MM_DATA:data}}/miniature/'
metainfo = dict(
    classes=('circle', 'square', 'triangle', 'star', 'cross', 'ring', 'sky', 'grass', 'brick'))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='train2017', seg_map_path='annotations/semantic_train2017'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='val2017', seg_map_path='annotations/semantic_val2017'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
