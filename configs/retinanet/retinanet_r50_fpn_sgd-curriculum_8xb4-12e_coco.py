# Purpose:  RetinaNet R50-FPN on COCO 2017: SGD on images that grow from half their size, see
#           docs/curriculum.md.
# Batch:    32 images an update on 8 GPUs x 4. Lengths are those of the run at full size, whose
#           compute this one has; the window of clipping is in updates of a quarter of the cost.
# Command:  bash tools/dist_train.sh \
#           configs/retinanet/retinanet_r50_fpn_sgd-curriculum_8xb4-12e_coco.py 8
_base_ = './retinanet_r50_fpn_sgd_8xb2-12e_coco.py'

total_batch_size = 32
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)

model = dict(data_preprocessor=dict(type='LowFreqDetDataPreprocessor'))
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(begin=7230 * 4, end=7431 * 4))
default_hooks = dict(param_scheduler=dict(type='ComputeParamSchedulerHook'))
custom_hooks = [dict(type='CurriculumHook', stages='detection')]
