"""The maths of AGVM: modules, moments, normalised variance, factors. Needs torch alone."""

from .estimate import VarianceEstimate
from .factors import FactorConfig, FactorState, counted, init_factors, update_factors
from .moments import (
    cosine_estimate,
    moment_estimate,
    noise,
    noise_scale,
    normalised_variance,
    signal,
)
from .partition import ModulePartition, default_partition, partition_parameters

__all__ = [
    'FactorConfig',
    'FactorState',
    'ModulePartition',
    'VarianceEstimate',
    'cosine_estimate',
    'counted',
    'default_partition',
    'init_factors',
    'moment_estimate',
    'noise',
    'noise_scale',
    'normalised_variance',
    'partition_parameters',
    'signal',
    'update_factors',
]
