# Purpose:  Tiny Semantic FPN on CamVid with AGVM on SGD at batch 128.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    128 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/contributing/miniature.md.
# Command:  python -m lab.miniature --recipes fpn_r18_agvm-sgd_16xb8-32it_camvid
_base_ = './fpn_r18_sgd_16xb8-32it_camvid.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(interval=1, begin=3, momentum=0.8),
    optimizer=dict(lr=0.113))
