# AGVM on AdamW. Everything else is as in adamw.py.
_base_ = './adamw.py'

optim_wrapper = dict(
    type='AGVMOptimWrapper',
    agvm=dict(
        anchor='backbone',
        estimator='all_pairs',
        interval='by_batch',
        begin='after_warmup',
        momentum=0.97,
        precondition=True))  # measure the gradient as AdamW scales it
