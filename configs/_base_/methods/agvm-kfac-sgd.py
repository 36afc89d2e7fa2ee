# AGVM and K-FAC on SGD.
_base_ = './agvm-sgd.py'

optim_wrapper = dict(
    kfac=dict(damping=1e-3, statistics_interval=10, inverse_interval=100, kl_clip=1e-3))
custom_hooks = [dict(type='KFACStateHook')]
