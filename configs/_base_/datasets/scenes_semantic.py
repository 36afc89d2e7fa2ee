# The scenes of scenes_detection.py as semantic maps: six things and three kinds of stuff.
_base_ = './miniature_semantic.py'
data_root = '{{$AGVM_MM_DATA:data}}/scenes/'

train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(data_root=data_root))
val_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
