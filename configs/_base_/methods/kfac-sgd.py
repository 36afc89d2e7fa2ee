# SGD on the gradient that K-FAC makes. Damping, intervals and kl_clip are those of public
# examples of K-FAC in classification; they are not tuned on detection.
_base_ = './sgd.py'

optim_wrapper = dict(
    kfac=dict(damping=1e-3, statistics_interval=10, inverse_interval=100, kl_clip=1e-3))
custom_hooks = [dict(type='KFACStateHook')]
