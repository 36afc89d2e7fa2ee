r"""What one call of a layer adds to its factors, before the division by the numbers of samples.

.. math:: A = \frac{1}{n} \sum_{i,s} x_{is} x_{is}^\top, \qquad
          G = \frac{1}{n S} \sum_{i,s} g_{is} g_{is}^\top ,

n images, S positions an image, :math:`g` the gradient of an image's own loss. A is summed over the
positions and G averaged, as in Grosse and Martens, ICML 2016, so that neither depends on the number
of ranks or micro-batches. The positions of a layer that is called several times, as a head shared
over pyramid levels, count together (the "expand" reading of Eschenhagen et al., NeurIPS 2023); so
do the regions of interest of an image.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

PATCH_BUDGET = 2**26
"""Elements of unfolded input held at a time: 256 MiB in float32."""


def wide(tensor: Tensor) -> Tensor:
    """The tensor in the precision of the factors: float64 stays, all else is float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def add_outer(total: Tensor, columns: Tensor) -> None:
    """Add ``columns columns^T`` to a dense (g, n, n), or its diagonal to a (g, n) total.

    Args:
        total: changed in place.
        columns: (g, n, positions).
    """
    if total.ndim == 3:
        total.baddbmm_(columns, columns.mT)
    else:
        total.add_(columns.square().sum(-1))


def with_ones(columns: Tensor) -> Tensor:
    """Append the constant 1 that the bias is multiplied with: (g, n, p) to (g, n + 1, p)."""
    return torch.cat([columns, columns.new_ones(columns.shape[0], 1, columns.shape[2])], 1)


def linear_columns(values: Tensor) -> Tensor:
    """Input or output gradient of a Linear, (..., d), as (1, d, positions)."""
    return wide(values).reshape(-1, values.shape[-1]).T[None]


def patches(module: nn.Conv2d, inputs: Tensor) -> Iterator[Tensor]:
    """Unfolded input of a convolution, (groups, channels x kernel, positions), some images a time.

    Any stride, padding, dilation and number of groups.
    """
    kernel, groups = module.kernel_size, module.groups
    padding = int(module.padding[0]), int(module.padding[1])
    rows = inputs.shape[1] * kernel[0] * kernel[1]
    positions = 1
    for axis in (0, 1):
        reach = module.dilation[axis] * (kernel[axis] - 1)
        size = inputs.shape[2 + axis] + 2 * padding[axis] - reach - 1
        positions *= size // module.stride[axis] + 1
    for part in inputs.split(max(1, PATCH_BUDGET // max(1, rows * positions))):
        columns = unfold(wide(part), kernel, module.dilation, padding, module.stride).unflatten(
            1, (groups, -1)
        )
        yield columns.permute(1, 2, 0, 3).flatten(2)


def output_columns(module: nn.Conv2d, gradient: Tensor) -> Tensor:
    """Output gradient of a convolution as (groups, channels, positions)."""
    split = wide(gradient).unflatten(1, (module.groups, -1))
    columns: Tensor = split.permute(1, 2, 0, 3, 4).flatten(2)
    return columns


def unit_gradients(normalized: Tensor, gradient: Tensor, channel: int) -> Tensor:
    """Gradients of scale and shift for every sample, (samples, channels, 2).

    Args:
        normalized: the layer's output before scale and shift.
        gradient: of its output, same shape.
        channel: axis of the channels; all others but the first are summed.
    """
    channel %= gradient.ndim
    axes = [axis for axis in range(1, gradient.ndim) if axis != channel]
    products = torch.stack([wide(gradient) * wide(normalized), wide(gradient)], -1)
    return products.sum(axes) if axes else products


def add_unit_outer(total: Tensor, gradients: Tensor) -> None:
    """Add the 2 x 2 outer product of every channel, (samples, c, 2), to a total (c, 2, 2)."""
    by_channel = gradients.permute(1, 2, 0)
    total.baddbmm_(by_channel, by_channel.mT)
