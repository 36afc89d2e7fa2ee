# Muon at batch 16 with the rate and decay of adamw.py, which adjust_lr='match_rms_adamw' lets it
# keep. Not tried on COCO or ADE20K; in small, its best rate was twice AdamW's at batch 16 and four
# times at 64 and 128.
optim_wrapper = dict(
    type='PartsOptimWrapper',
    join_groups=True,
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(
        type='MuonOptimizer', lr=2e-4, weight_decay=0.05, adjust_lr='match_rms_adamw'),
    paramwise_cfg=dict(norm_decay_mult=0.0))
