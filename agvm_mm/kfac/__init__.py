"""K-FAC: gradients preconditioned by the Fisher matrix of each layer, distributed over ranks."""

from .layers import ConvLayer, KroneckerLayer, Layer, LinearLayer, UnitLayer
from .preconditioner import KFAC
from .rescale import rescale_weights
from .settings import KFACSettings
from .state import from_state, gather, to_state
from .traffic import Traffic

__all__ = [
    'KFAC',
    'ConvLayer',
    'KFACSettings',
    'KroneckerLayer',
    'Layer',
    'LinearLayer',
    'Traffic',
    'UnitLayer',
    'from_state',
    'gather',
    'rescale_weights',
    'to_state',
]
