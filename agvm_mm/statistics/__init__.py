"""The maths of AGVM: modules, moments, normalised variance, scales. Needs no MMEngine."""

from .estimate import VarianceEstimate
from .moments import cosine_estimate, moment_estimate, noise_scale
from .partition import ModulePartition, default_partition, partition_parameters
from .scales import ScaleConfig, ScaleState, counted, init_scales, update_scales

__all__ = [
    'ScaleConfig',
    'ScaleState',
    'ModulePartition',
    'VarianceEstimate',
    'cosine_estimate',
    'counted',
    'default_partition',
    'init_scales',
    'moment_estimate',
    'noise_scale',
    'partition_parameters',
    'update_scales',
]
