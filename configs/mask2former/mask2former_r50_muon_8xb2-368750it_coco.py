# Purpose:  Mask2Former R50 on instances of COCO 2017: Muon.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/mask2former/mask2former_r50_muon_8xb2-368750it_coco.py 8
_base_ = './mask2former_r50_adamw_8xb2-368750it_coco.py'

optim_wrapper = dict(
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(
        _delete_=True,
        type='MuonOptimizer',
        lr=1e-4,  # AdamW's, which 'match_rms_adamw' lets Muon keep
        weight_decay=0.05,
        adjust_lr='match_rms_adamw'))
