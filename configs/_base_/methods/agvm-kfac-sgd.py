# AGVM and K-FAC on SGD; K-FAC as in kfac-sgd.py.
_base_ = './agvm-sgd.py'

optim_wrapper = dict(
    kfac=dict(statistics_interval=10, inverse_interval=100, exclude=['backbone']))
custom_hooks = [dict(type='KFACStateHook')]
