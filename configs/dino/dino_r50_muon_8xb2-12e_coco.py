# Purpose:  DINO R50 on COCO 2017: Muon.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/dino/dino_r50_muon_8xb2-12e_coco.py 8
_base_ = './dino_r50_adamw_8xb2-12e_coco.py'

optim_wrapper = dict(
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(
        _delete_=True,
        type='MuonOptimizer',
        lr=1e-4,  # AdamW's, which 'match_rms_adamw' lets Muon keep
        weight_decay=1e-4,
        adjust_lr='match_rms_adamw'))
