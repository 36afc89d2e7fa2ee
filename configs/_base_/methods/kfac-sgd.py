# SGD on the gradient that K-FAC makes. Its defaults were chosen in small runs (docs/kfac.md), the
# interval of the inverses for a run of many thousand updates; neither was tried on COCO.
_base_ = './sgd.py'

optim_wrapper = dict(kfac=dict(statistics_interval=10, inverse_interval=100))
custom_hooks = [dict(type='KFACStateHook')]
