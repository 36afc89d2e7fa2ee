# Purpose:  a small DINO from scratch on generated scenes: Muon.
# Hardware: 2 processes x 4 images, or one that accumulates gradients; a CPU will do.
# Batch:    8 images per optimizer update.
# Expected: not measured.
# Command:  bash tools/dist_train.sh \
#           configs/dino/dino_r18_muon_2xb4-5e_scenes.py 2
_base_ = './dino_r18_agvm-adamw_2xb4-5e_scenes.py'

optim_wrapper = dict(
    type='PartsOptimWrapper',
    agvm=None,
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(_delete_=True, type='MuonOptimizer', lr=1e-3, weight_decay=1e-4, adjust_lr='match_rms_adamw'))
