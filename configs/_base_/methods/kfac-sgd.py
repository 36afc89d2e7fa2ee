# SGD on the gradient that K-FAC makes of the neck and the heads; the backbone is pretrained. The
# defaults and this choice come from small runs (docs/kfac.md), the interval of the inverses is for
# a run of many thousand updates. Nothing was tried on COCO or ADE20K.
_base_ = './sgd.py'

optim_wrapper = dict(
    kfac=dict(statistics_interval=10, inverse_interval=100, exclude=['backbone']))
custom_hooks = [dict(type='KFACStateHook')]
