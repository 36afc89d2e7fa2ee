# Purpose:  Semantic FPN NF-R50 on ADE20K at batch 16: AGVM on SGD with adaptive gradient clipping.
# Hardware: 4 GPUs x 4 images; fewer GPUs accumulate gradients to the same batch, exactly: no batch
#           statistics.
# Batch:    16 images per optimizer update; lengths in iterations count updates.
# Expected: not known.
# Derived:  lr = 0.01 at batch 16 (mmseg), square root for others; as many images as 80,000 updates
#           of 16; clip_factor = 0.01, the authors' for batch 1024 to 4096; begin = end of the
#           warm-up (2 epochs) + min(100 updates, half an epoch); nothing is tuned.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/fpn_nf-r50_agvm-sgd-agc_4xb4-80k_ade20k-512x512.py 8
_base_ = 'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py'
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)

total_batch_size = 16
train_dataloader = dict(batch_size=4)

# docs/nfnet.md says how the checkpoint is made from timm's nf_resnet50.
model = dict(
    backbone=dict(
        _delete_=True,
        type='NFResNet',
        depth=50,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/nf_resnet50.pth')),
    decode_head=dict(
        conv_cfg=dict(type='ScaledWSConv2d'),
        norm_cfg=None,
        act_cfg=dict(type='GammaAct', act='relu')))

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
    agvm=dict(anchor='backbone', estimator='all_pairs', interval=10, begin=2628, momentum=0.97),
    clip_grad=dict(_delete_=True, type='agc', clip_factor=0.01, eps=1e-3, exclude='cls'),
    paramwise_cfg=dict(bias_decay_mult=0.0, custom_keys=dict(gain=dict(decay_mult=0.0))))

param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=2528, by_epoch=False),
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=2528, end=80000, by_epoch=False)
]
train_cfg = dict(max_iters=80000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
