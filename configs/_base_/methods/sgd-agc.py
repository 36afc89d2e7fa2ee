# SGD with adaptive gradient clipping for NF-ResNet. clip_factor is the authors' for batch 1024 to
# 4096; box regression starts near 0 and is left out (docs/agc.md). Nothing is tuned.
_base_ = './sgd.py'

optim_wrapper = dict(
    join_groups=True,
    clip_grad=dict(
        _delete_=True, type='agc', clip_factor=0.01, eps=1e-3, exclude='pred'),
    paramwise_cfg=dict(bias_decay_mult=0.0, custom_keys=dict(gain=dict(decay_mult=0.0))))
