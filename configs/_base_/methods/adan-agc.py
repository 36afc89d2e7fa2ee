# Adan with adaptive gradient clipping for NF-ResNet: 5 times the rate of AdamW, its authors' first
# try. Nothing is tuned.
optim_wrapper = dict(
    type='PartsOptimWrapper',
    join_groups=True,
    optimizer=dict(type='AdanOptimizer', lr=1e-3, weight_decay=0.02),
    clip_grad=dict(type='agc', clip_factor=0.01, eps=1e-3, exclude='pred'),
    paramwise_cfg=dict(bias_decay_mult=0.0, custom_keys=dict(gain=dict(decay_mult=0.0))))
