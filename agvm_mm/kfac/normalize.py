"""A norm layer's output before scale and shift, recomputed from its input.

Dividing the output by the scale would fail where the scale is 0, as in residual branches that start
at zero, and where an in-place activation has overwritten the output.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import batch_norm, group_norm, layer_norm

from .factors import wide

Statistics = tuple[Tensor, Tensor] | None
"""Mean and variance that a call normalised with; None where its input tells."""


def channel_axis(module: nn.Module) -> int:
    """The axis that scale and shift belong to."""
    return -1 if isinstance(module, nn.LayerNorm) else 1


def statistics(module: nn.Module, inputs: Tensor) -> Statistics:
    """Called in the forward pass, in the same order on all ranks."""
    if not isinstance(module, nn.modules.batchnorm._BatchNorm):
        return None
    mean, variance = module.running_mean, module.running_var
    if not module.training and mean is not None and variance is not None:
        return mean, variance
    if isinstance(module, nn.SyncBatchNorm) and _ranks(module) > 1:
        return _over_ranks(module, inputs)
    return None


def normalized(module: nn.Module, inputs: Tensor, given: Statistics) -> Tensor:
    """The normalised input."""
    values = wide(inputs)
    if isinstance(module, nn.LayerNorm):
        return layer_norm(values, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.GroupNorm):
        return group_norm(values, module.num_groups, eps=module.eps)
    assert isinstance(module, nn.modules.batchnorm._BatchNorm)
    if given is None:
        return batch_norm(values, None, None, training=True, eps=module.eps)
    mean, variance = (part.to(values) for part in given)
    return batch_norm(values, mean, variance, eps=module.eps)


def _ranks(module: nn.SyncBatchNorm) -> int:
    initialized = dist.is_available() and dist.is_initialized()
    return dist.get_world_size(module.process_group) if initialized else 1


def _over_ranks(module: nn.SyncBatchNorm, inputs: Tensor) -> Statistics:
    """Mean and variance over all ranks, by one collective of 2 C + 1 numbers.

    A rank takes those of its own input in the precision of the factors, and the few numbers are
    added up in float64.
    """
    channels, axes = inputs.shape[1], [axis for axis in range(inputs.ndim) if axis != 1]
    count = inputs.numel() // channels
    vector = inputs.new_zeros(2 * channels + 1, dtype=torch.float64)
    if count:
        parts = torch.var_mean(wide(inputs), axes, correction=0)
        variance, mean = (part.double() for part in parts)
        vector[:-1] = torch.cat([mean, variance + mean.square()]) * count
        vector[-1] = count
    dist.all_reduce(vector, group=module.process_group)
    mean, squares = vector[:-1].div(vector[-1]).chunk(2)
    return mean, (squares - mean.square()).clamp(min=0)
