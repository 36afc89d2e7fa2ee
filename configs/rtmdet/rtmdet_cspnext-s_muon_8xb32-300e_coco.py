# Purpose:  RTMDet-s on COCO 2017: Muon.
# Batch:    256 images an update on 8 GPUs x 32; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/rtmdet/rtmdet_cspnext-s_muon_8xb32-300e_coco.py 8
_base_ = './rtmdet_cspnext-s_adamw_8xb32-300e_coco.py'

optim_wrapper = dict(
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(
        _delete_=True,
        type='MuonOptimizer',
        lr=0.004,  # AdamW's, which 'match_rms_adamw' lets Muon keep
        weight_decay=0.05,
        adjust_lr='match_rms_adamw'))
