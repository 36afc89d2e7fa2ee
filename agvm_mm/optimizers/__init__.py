"""Optimizers that torch lacks, in MMEngine's registry."""

from .adan import build_adan
from .lamb import LAMBOptimizer
from .lars import build_lars
from .muon import MuonOptimizer
from .muon_constructor import MuonOptimWrapperConstructor
from .muon_split import MuonSplit, split_parameters
from .soap import build_soap

__all__ = [
    'LAMBOptimizer',
    'MuonOptimWrapperConstructor',
    'MuonOptimizer',
    'MuonSplit',
    'build_adan',
    'build_lars',
    'build_soap',
    'split_parameters',
]
