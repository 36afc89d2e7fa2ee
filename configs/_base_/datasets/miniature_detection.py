# Scenes of 64 pixels with one to four things, read from $AGVM_MM_DATA/miniature/ or
# data/miniature/. lab/miniature.py draws them; by hand it is
#   python tools/dataset_converters/generate_scenes.py data/miniature \
#       --train 1024 --val 256 --size 64 64 --objects 1 4
_base_ = './scenes_detection.py'
data_root = '{{$AGVM_MM_DATA:data}}/miniature/'

train_dataloader = dict(batch_size=8, dataset=dict(data_root=data_root))
val_dataloader = dict(batch_size=32, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
