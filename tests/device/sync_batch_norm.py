"""The kernels of torch.nn.SyncBatchNorm, which exist for GPUs alone, on the simulated device."""

from __future__ import annotations

import torch
from torch import Tensor


def register() -> torch.library.Library:
    """Register them; they stay as long as the library is held."""
    library = torch.library.Library('aten', 'IMPL')
    for kernel in (
        batch_norm_stats,
        batch_norm_gather_stats_with_counts,
        batch_norm_elemt,
        batch_norm_backward_reduce,
        batch_norm_backward_elemt,
    ):
        library.impl(kernel.__name__, kernel, 'PrivateUse1')
    return library


def _axes(values: Tensor) -> list[int]:
    return [axis for axis in range(values.ndim) if axis != 1]


def _channels(vector: Tensor, values: Tensor) -> Tensor:
    return vector.view(1, -1, *[1] * (values.ndim - 2))


def batch_norm_stats(values: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(values, _axes(values), correction=0)
    return mean, (variance + eps).rsqrt()


def batch_norm_gather_stats_with_counts(
    values: Tensor,
    means: Tensor,
    inverse: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    weights = counts.view(-1, 1) / counts.sum()
    mean = (means * weights).sum(0)
    variance = ((inverse**-2 - eps + (means - mean) ** 2) * weights).sum(0)
    if running_mean is not None and running_var is not None:
        total = counts.sum()
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * total / (total - 1), momentum)
    return mean, (variance + eps).rsqrt()


def batch_norm_elemt(
    values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, eps: float
) -> Tensor:
    centred = values - _channels(mean, values)
    return centred * _channels(inverse * weight, values) + _channels(bias, values)


def batch_norm_backward_reduce(
    gradient: Tensor,
    values: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor | None,
    of_input: bool,
    of_weight: bool,
    of_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    total = gradient.sum(_axes(gradient))
    product = (gradient * (values - _channels(mean, values))).sum(_axes(gradient))
    return total, product, product * inverse, total.clone()


def batch_norm_backward_elemt(
    gradient: Tensor,
    values: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor,
    total: Tensor,
    product: Tensor,
    counts: Tensor,
) -> Tensor:
    share = 1 / counts.sum()
    centred = values - _channels(mean, values)
    slope = centred * _channels(inverse**2 * product * share, values)
    inner = gradient - _channels(total * share, values) - slope
    return inner * _channels(inverse * weight, values)
