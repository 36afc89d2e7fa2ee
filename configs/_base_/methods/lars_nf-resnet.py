# LARS without weight decay on biases and gains, as sgd-agc.py.
_base_ = './lars.py'

optim_wrapper = dict(
    join_groups=True,
    paramwise_cfg=dict(bias_decay_mult=0.0, custom_keys=dict(gain=dict(decay_mult=0.0))))
