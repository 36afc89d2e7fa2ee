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
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from . import triangle
from .blocks import blocks
from .sampling import EVERY, Grid

PATCH_BUDGET = 2**26
"""Elements of unfolded input held at a time: 256 MiB in float32."""


class Window(NamedTuple):
    """Where a two-dimensional convolution looks, named as in :class:`torch.nn.Conv2d`."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def wide(tensor: Tensor) -> Tensor:
    """The tensor in the precision of the factors: float64 stays, all else is float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def add_outer(total: Tensor, columns: Tensor, weight: float = 1.0) -> None:
    """Add ``weight columns columns^T`` to (g, n, m), or its diagonal to (g, n).

    Of a dense total the lower triangle of every block, see :mod:`agvm_mm.kfac.triangle`.

    Args:
        total: changed in place.
        columns: (g, n, positions).
        weight: of the product.
    """
    if total.ndim == 3:
        start = 0
        for block in blocks(total):
            end = start + block.shape[1]
            triangle.add_product(block, columns[:, start:end], weight)
            start = end
    else:
        total.add_(torch.linalg.vecdot(columns, columns), alpha=weight)


def with_ones(columns: Tensor) -> Tensor:
    """Append the constant 1 that the bias is multiplied with: (g, n, p) to (g, n + 1, p)."""
    return torch.cat([columns, columns.new_ones(columns.shape[0], 1, columns.shape[2])], 1)


def linear_columns(values: Tensor) -> Tensor:
    """Input or output gradient of a Linear, (..., d), as (1, d, positions)."""
    return wide(values).reshape(-1, values.shape[-1]).T[None]


def output_size(module: nn.Conv2d | Window, inputs: Tensor) -> tuple[int, int]:
    """Rows and columns of positions that a convolution has on its inputs."""
    height, width = (
        (
            inputs.shape[2 + axis]
            + 2 * int(module.padding[axis])
            - module.dilation[axis] * (module.kernel_size[axis] - 1)
            - 1
        )
        // module.stride[axis]
        + 1
        for axis in (0, 1)
    )
    return height, width


def patches(module: nn.Conv2d | Window, inputs: Tensor, grid: Grid = EVERY) -> Iterator[Tensor]:
    """Unfolded input of a convolution, (groups, channels x kernel, positions), some images a time.

    Any stride, padding, dilation and number of groups.
    """
    kernel, dilation, groups = module.kernel_size, module.dilation, module.groups
    down, right = int(module.padding[0]), int(module.padding[1])
    height, width = output_size(module, inputs)
    shape = len(range(grid.row, height, grid.step)), len(range(grid.column, width, grid.step))
    rows = inputs.shape[1] * kernel[0] * kernel[1]
    for part in inputs.split(max(1, PATCH_BUDGET // max(1, rows * shape[0] * shape[1]))):
        values = pad(wide(part), (right, right, down, down)).contiguous()
        image, channel, row, column = values.stride()
        steps = row * module.stride[0], column * module.stride[1]
        # A view of every patch, so that the numbers are copied only once.
        view = values.as_strided(
            (values.shape[1], *kernel, len(values), *shape),
            (channel, row * dilation[0], column * dilation[1], image)
            + (steps[0] * grid.step, steps[1] * grid.step),
            values.storage_offset() + grid.row * steps[0] + grid.column * steps[1],
        )
        yield view.reshape(groups, rows // groups, -1)


def output_columns(gradient: Tensor, groups: int) -> Tensor:
    """Output gradient, (images, channels, ...), as (groups, channels, positions)."""
    columns: Tensor = wide(gradient).unflatten(1, (groups, -1)).movedim(0, 2).flatten(2)
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
    parts = wide(gradient) * normalized, wide(gradient)
    return torch.stack([part.sum(axes) if axes else part for part in parts], -1)


def add_unit_outer(total: Tensor, gradients: Tensor) -> None:
    """Add the 2 x 2 outer product of every channel, (samples, c, 2), to a total (c, 2, 2)."""
    by_channel = gradients.permute(1, 2, 0)
    total.baddbmm_(by_channel, by_channel.mT)
