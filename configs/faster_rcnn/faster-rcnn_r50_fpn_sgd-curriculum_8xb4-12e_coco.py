# Purpose:  Faster R-CNN R50-FPN on COCO 2017 at batch 32: plain SGD on images that grow from half
#           their size, see docs/curriculum.md.
# Hardware: 8 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch.
# Batch:    32 images per optimizer update; lengths are those of the run at full size, whose compute
#           this one has.
# Expected: not known.
# Derived:  stages and lr as without training at another size; the window of clipping in updates of
#           a quarter of the cost.
# Command:  bash tools/dist_train.sh \
#           configs/faster_rcnn/faster-rcnn_r50_fpn_sgd-curriculum_8xb4-12e_coco.py 8
_base_ = './faster-rcnn_r50_fpn_sgd_8xb4-12e_coco.py'

model = dict(data_preprocessor=dict(type='LowFreqDetDataPreprocessor'))
optim_wrapper = dict(clip_grad=dict(begin=7230 * 4, end=7431 * 4))
default_hooks = dict(param_scheduler=dict(type='ComputeParamSchedulerHook'))
custom_hooks = [dict(type='CurriculumHook', stages='detection')]
