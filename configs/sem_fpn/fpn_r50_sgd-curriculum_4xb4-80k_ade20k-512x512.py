# Purpose:  Semantic FPN R50 on ADE20K at batch 16: plain SGD on images that grow from 3/7 of their
#           size, see docs/curriculum.md.
# Hardware: 4 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, with SyncBN over
#           fewer images.
# Batch:    16 images per optimizer update; lengths are those of the run at full size, whose compute
#           this one has.
# Derived:  the published stages of EfficientTrain++; lr = 0.01 at batch 16 (mmseg).
# Command:  bash tools/dist_train.sh \
#           configs/sem_fpn/fpn_r50_sgd-curriculum_4xb4-80k_ade20k-512x512.py 4
_base_ = './fpn_r50_sgd_4xb4-80k_ade20k-512x512.py'

model = dict(data_preprocessor=dict(type='LowFreqSegDataPreprocessor'))
default_hooks = dict(param_scheduler=dict(type='ComputeParamSchedulerHook'))
custom_hooks = [dict(type='CurriculumHook', stages='efficienttrain++')]
