# Purpose:  the detector and the data of faster-rcnn_nf-r18_fpn_agvm-sgd-agc_2xb4-10e_scenes.py with
#           AGVM on Adan.
# Hardware: 2 CPU processes x 4 images.
# Batch:    8 images per optimizer update.
# Expected: not measured yet.
# Derived:  lr = 1e-3, 5 times that of AdamW on this detector; weight_decay = 0.02; not tuned.
# Command:  bash tools/dist_train.sh \
#           configs/nf_resnet/faster-rcnn_nf-r18_fpn_agvm-adan-agc_2xb4-10e_scenes.py 2
_base_ = './faster-rcnn_nf-r18_fpn_agvm-sgd-agc_2xb4-10e_scenes.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdanOptimizer', lr=1e-3, weight_decay=0.02),
    agvm=dict(precondition=True))
