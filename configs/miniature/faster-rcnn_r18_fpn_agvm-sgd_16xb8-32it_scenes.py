# Purpose:  Tiny Faster R-CNN on generated scenes with AGVM on SGD at batch 128.
# Hardware: one CPU core; micro-batches of 8 images.
# Batch:    128 images per optimizer update.
# Expected: docs/results/miniature; the table is in docs/playbook.md.
# Command:  python -m lab.miniature --recipes faster-rcnn_r18_fpn_agvm-sgd_16xb8-32it_scenes
_base_ = './faster-rcnn_r18_fpn_sgd_16xb8-32it_scenes.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(interval=1, begin=3, momentum=0.8),
    optimizer=dict(lr=0.0283))
