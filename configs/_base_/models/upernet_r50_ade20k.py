# UPerNet with ResNet-50 for the 150 classes of ADE20K.
_base_ = 'mmseg::_base_/models/upernet_r50.py'

data_preprocessor = dict(size=(512, 512))
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150))
