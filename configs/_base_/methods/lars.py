# LARS with the learning rate of SGD. It is not clipped, because its steps have a length of their
# own. The trust coefficient is not tuned.
optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        type='LARSOptimizer',
        lr=0.02,
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=0.01))
