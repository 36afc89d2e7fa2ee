# Purpose:  Tiny Semantic FPN on CamVid with SGD at batch 128.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    128 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/recipes.md.
# Command:  python tools/miniature.py --recipes fpn_r18_sgd_16xb8-32it_camvid
_base_ = [
    '../_base_/models/fpn_r18_tiny.py',
    '../_base_/datasets/miniature_camvid.py',
    '../_base_/schedules/miniature_128.py',
]
load_from = '{{$AGVM_MM_DATA:data}}/miniature/start/fpn_r18_camvid.pth'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

default_scope = 'mmseg'
visualizer = dict(_delete_=True, type='SegLocalVisualizer', name='visualizer',
    vis_backends=[dict(type='LocalVisBackend')])
model = dict(data_preprocessor=dict(size=(72, 96)), decode_head=dict(num_classes=11))
optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=None,
    optimizer=dict(type='SGD', lr=0.0565, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0))
