# SGD without AGVM, at a learning rate that the recipe sets; what the miniature recipes start from.
custom_imports = dict(imports=['agvm_mm'], allow_failed_imports=False)
optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(type='SGD', momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0))
