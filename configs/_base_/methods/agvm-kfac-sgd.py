# AGVM and K-FAC on SGD.
_base_ = './agvm-sgd.py'

optim_wrapper = dict(kfac=dict(statistics_interval=10, inverse_interval=100))
custom_hooks = [dict(type='KFACStateHook')]
