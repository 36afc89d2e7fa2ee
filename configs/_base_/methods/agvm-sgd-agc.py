# AGVM on SGD with adaptive gradient clipping. Everything else is as in sgd-agc.py.
_base_ = './agvm-sgd.py'

optim_wrapper = dict(
    clip_grad=dict(
        _delete_=True, type='agc', clip_factor=0.01, eps=1e-3, exclude='pred'),
    paramwise_cfg=dict(bias_decay_mult=0.0, custom_keys=dict(gain=dict(decay_mult=0.0))))
