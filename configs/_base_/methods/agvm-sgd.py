# AGVM on SGD. Everything else is as in sgd.py.
_base_ = './sgd.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(
        anchor='backbone',
        estimator='all_pairs',
        interval='by_batch',
        begin='after_warmup',
        momentum=0.97))
