# Purpose:  a small DINO from scratch on generated scenes: Muon.
# Hardware: 4 processes x 4 images, or one that accumulates gradients; a CPU will do.
# Batch:    16 images per optimizer update.
# Expected: not measured.
# Command:  bash tools/dist_train.sh \
#           configs/dino/dino_r18_muon_4xb4-6e_scenes.py 4
_base_ = './dino_r18_agvm-adamw_4xb4-6e_scenes.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    agvm=None,
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(
        _delete_=True,
        type='MuonOptimizer',
        lr=1e-3,  # AdamW's, which 'match_rms_adamw' lets Muon keep
        weight_decay=1e-4,
        adjust_lr='match_rms_adamw'))
