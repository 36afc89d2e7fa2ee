# Purpose:  SegFormer MiT-B0 on ADE20K: Muon.
# Batch:    16 images an update on 8 GPUs x 2; others by rule (docs/recipes.md).
# Command:  bash tools/dist_train.sh \
#           configs/segformer/segformer_mit-b0_muon_8xb2-160k_ade20k-512x512.py 8
_base_ = './segformer_mit-b0_adamw_8xb2-160k_ade20k-512x512.py'

optim_wrapper = dict(
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(
        _delete_=True,
        type='MuonOptimizer',
        lr=6e-5,  # AdamW's, which 'match_rms_adamw' lets Muon keep
        weight_decay=0.01,
        adjust_lr='match_rms_adamw'))
