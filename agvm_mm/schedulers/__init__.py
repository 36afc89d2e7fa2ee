"""Learning-rate schedules that MMEngine lacks."""

from .exponential_warmup import ExponentialWarmupLR

__all__ = ['ExponentialWarmupLR']
