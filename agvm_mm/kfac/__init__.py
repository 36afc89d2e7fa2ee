"""K-FAC: gradients preconditioned by the Fisher matrix of each layer, distributed over ranks."""

from .layer import KFACLayer
from .preconditioner import KFAC
from .report import Traffic, count_traffic, describe, scalars
from .settings import KFACSettings

__all__ = ['KFAC', 'KFACLayer', 'KFACSettings', 'Traffic', 'count_traffic', 'describe', 'scalars']
