# Purpose:  Tiny Semantic FPN on generated scenes with SGD at batch 16.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    16 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/contributing/miniature.md.
# Command:  python -m lab.miniature --recipes fpn_r18_sgd_2xb8-256it_scenes
_base_ = [
    '../_base_/models/fpn_r18_tiny.py',
    '../_base_/datasets/miniature_semantic.py',
    '../_base_/schedules/miniature_16.py',
    '../_base_/schedules/miniature_sgd.py',
]
load_from = '{{$AGVM_MM_DATA:data}}/miniature/start/fpn_r18_scenes.pth'

default_scope = 'mmseg'
visualizer = dict(_delete_=True, type='SegLocalVisualizer', name='visualizer',
    vis_backends=[dict(type='LocalVisBackend')])
model = dict(data_preprocessor=dict(size=(64, 64)), decode_head=dict(num_classes=9))
optim_wrapper = dict(optimizer=dict(lr=0.16))
