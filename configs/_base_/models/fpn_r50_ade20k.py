# Semantic FPN with ResNet-50 for the 150 classes of ADE20K.
_base_ = 'mmseg::_base_/models/fpn_r50.py'

data_preprocessor = dict(size=(512, 512))
model = dict(data_preprocessor=dict(size=(512, 512)), decode_head=dict(num_classes=150))
