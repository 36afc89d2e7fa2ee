"""K-FAC: gradients preconditioned by the Fisher matrix of each layer, distributed over ranks."""

from .distribution import Traffic
from .layer import KFACLayer
from .preconditioner import KFAC
from .report import describe, scalars
from .settings import KFACSettings

__all__ = ['KFAC', 'KFACLayer', 'KFACSettings', 'Traffic', 'describe', 'scalars']
