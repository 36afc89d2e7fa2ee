# Purpose:  Tiny Semantic FPN on CamVid with SGD at batch 128.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    128 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/contributing/miniature.md.
# Command:  python -m lab.miniature --recipes fpn_r18_sgd_16xb8-32it_camvid
_base_ = [
    '../_base_/models/fpn_r18_tiny.py',
    '../_base_/datasets/miniature_camvid.py',
    '../_base_/schedules/miniature_128.py',
    '../_base_/schedules/miniature_sgd.py',
]
load_from = '{{$AGVM_MM_DATA:data}}/miniature/start/fpn_r18_camvid.pth'

default_scope = 'mmseg'
visualizer = dict(_delete_=True, type='SegLocalVisualizer', name='visualizer',
    vis_backends=[dict(type='LocalVisBackend')])
model = dict(data_preprocessor=dict(size=(72, 96)), decode_head=dict(num_classes=11))
optim_wrapper = dict(optimizer=dict(lr=0.113))
