# ade20k_80k.py for a method whose rate is about as small as the end of that schedule, 1e-4.
_base_ = './ade20k_80k.py'

param_scheduler = [
    dict(type='ExponentialWarmupLR', ratio=0.001, begin=0, end=2528, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=0.9, begin=2528, end=80000, by_epoch=False)
]
