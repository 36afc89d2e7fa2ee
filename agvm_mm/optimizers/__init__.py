"""Optimizers that torch lacks, in MMEngine's registry, and what is known of other classes."""

from ..compat import has_mmengine
from .adan import build_adan
from .lamb import LAMBOptimizer
from .lars import build_lars
from .muon import MuonOptimizer
from .muon_split import MuonSplit, split_parameters
from .parameterwise import register_parameterwise
from .second_moments import SecondMoment, register_second_moment
from .soap import build_soap

if has_mmengine():
    from .muon_constructor import MuonOptimWrapperConstructor

__all__ = [
    'LAMBOptimizer',
    'MuonOptimWrapperConstructor',
    'MuonOptimizer',
    'MuonSplit',
    'SecondMoment',
    'build_adan',
    'build_lars',
    'build_soap',
    'register_parameterwise',
    'register_second_moment',
    'split_parameters',
]
