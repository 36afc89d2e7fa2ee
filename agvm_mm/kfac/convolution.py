"""Convolutions of one to three dimensions, and transposed ones, as the two-dimensional equal one.

A transposed convolution is the ordinary one of stride 1, with the kernel turned round, on an input
with zeros between its pixels: its factors are those of that convolution. A third dimension of the
kernel becomes channels, and every frame of the output an image. Zeros that a module adds in its
forward pass, as 'same' does, follow from the size of its output.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from . import factors
from .factors import Window
from .modules import KroneckerHelper
from .sampling import draw_grid


class ConvHelper(KroneckerHelper):
    """A convolution, its groups one below the other.

    Attributes:
        max_positions: of an image's input; None for all.
        seed: of the draw among them.
    """

    max_positions: int | None = None
    seed = ''

    def __init__(self, name: str, module: Any, max_size: int) -> None:
        super().__init__(name, module, max_size)
        self.groups = module.groups
        self.unit = prod(module.kernel_size)
        self._set_shapes(
            module.in_channels // self.groups * self.unit,
            module.out_channels // self.groups,
        )

    def context(self, inputs: Tensor) -> Tensor:
        """One image without a batch dimension is a batch of one."""
        return self._batch(inputs)

    def add(self, sums: list[Tensor], context: Any, gradient: Tensor) -> int:
        """Every pixel of the outputs is a position."""
        if not len(context):  # an image batch without a region of interest
            return 0
        gradient = self._batch(gradient)
        images, window = self._images(context, gradient.shape[2:])
        grid = draw_grid(*factors.output_size(window, images), self.max_positions, self.seed)
        for columns in factors.patches(window, images, grid):
            columns = self._inputs(columns)
            columns = factors.with_ones(columns) if self.has_bias else columns
            factors.add_outer(sums[0], columns, grid.weight)
        columns = self._outputs(factors.output_columns(gradient, self.groups))
        factors.add_outer(sums[1], columns)
        return columns.shape[2]

    def _images(self, inputs: Tensor, size: Sequence[int]) -> tuple[Tensor, Window]:
        """Input and window of the equal two-dimensional convolution with an output of ``size``."""
        module, padding = self.module, self.module.padding
        if module.padding_mode != 'zeros':
            inputs = pad(inputs, module._reversed_padding_repeated_twice, module.padding_mode)
            padding = 'valid'
        if isinstance(padding, str):
            padding = (0,) * len(module.kernel_size)
        edges = _same_padding(inputs, module, size, padding)
        if any(edges):  # without any, torch would copy the inputs
            inputs = pad(inputs, edges)
        return flat(inputs, module, module.stride, padding)

    def _inputs(self, columns: Tensor) -> Tensor:
        """The inputs that the weight multiplies, (groups, inputs, positions)."""
        return columns

    def _outputs(self, columns: Tensor) -> Tensor:
        """The gradients of the weight's outputs, (groups, outputs, positions)."""
        return columns

    def _batch(self, images: Tensor) -> Tensor:
        return images if images.ndim == 2 + len(self.module.kernel_size) else images[None]


class TransposedHelper(ConvHelper):
    """A transposed convolution, whose weight has a row for every input and a column for outputs."""

    def _images(self, inputs: Tensor, size: Sequence[int]) -> tuple[Tensor, Window]:
        once = (1,) * len(size)
        return flat(stuffed(inputs, self.module, size), self.module, once, (0,) * len(size))

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The weight as the equal convolution has it."""
        weight, *bias = parts
        by_group = weight.unflatten(0, (self.groups, -1)).transpose(1, 2)
        return super().join([by_group.flatten(0, 1).flip(self._kernel), *bias])

    def split(self, matrix: Tensor) -> list[Tensor]:
        """Weight and bias as the module has them."""
        weight, *bias = super().split(matrix)
        shape = self.parameters[0].shape
        by_group = weight.reshape(self.groups, shape[1], -1, *shape[2:]).transpose(1, 2)
        return [by_group.flatten(0, 1).flip(self._kernel), *bias]

    @property
    def _kernel(self) -> list[int]:
        return list(range(2, self.parameters[0].ndim))


def stuffed(inputs: Tensor, module: Any, size: Sequence[int]) -> Tensor:
    """A transposed convolution's input, with zeros between and around its pixels.

    Args:
        inputs: (images, channels, ...).
        module: the transposed convolution.
        size: of its output, which a call may choose.
    """
    stride = module.stride
    spans = [(n - 1) * s + 1 for n, s in zip(inputs.shape[2:], stride)]
    between = inputs.new_zeros(*inputs.shape[:2], *spans)
    places: tuple[Any, ...] = (..., *(slice(None, None, s) for s in stride))
    between[places] = inputs
    edges = []
    for axis in reversed(range(len(size))):
        reach = module.dilation[axis] * (module.kernel_size[axis] - 1)
        before = reach - module.padding[axis]
        edges += [before, size[axis] + reach - spans[axis] - before]
    return pad(between, edges)


def _same_padding(
    inputs: Tensor, module: Any, size: Sequence[int], padding: Sequence[int]
) -> list[int]:
    """Zeros to add beside ``padding`` for an output of ``size``, an odd one behind; mostly none."""
    edges = []
    for axis in reversed(range(len(size))):
        reach = module.dilation[axis] * (module.kernel_size[axis] - 1)
        needed = (size[axis] - 1) * module.stride[axis] + reach + 1
        total = max(0, needed - inputs.shape[2 + axis] - 2 * padding[axis])
        edges += [total // 2, total - total // 2]
    return edges


def flat(
    inputs: Tensor, module: Any, stride: Sequence[int], padding: Sequence[int]
) -> tuple[Tensor, Window]:
    """Input (images, channels, height, width) and window of the equal two-dimensional convolution.

    Args:
        inputs: with one to three dimensions behind the channels.
        module: of which kernel, dilation and groups count.
        stride: of each dimension.
        padding: of zeros, of each dimension.
    """
    kernel, dilation = module.kernel_size, module.dilation
    if len(kernel) == 3:
        inputs = _frames(inputs, kernel[0], stride[0], padding[0], dilation[0])
    elif len(kernel) == 1:
        inputs = inputs[:, :, None]
    window = Window(
        _pair(kernel, 1), _pair(stride, 1), _pair(padding, 0), _pair(dilation, 1), module.groups
    )
    return inputs, window


def _frames(inputs: Tensor, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """Every position of the first dimension as an image, with the kernel's frames as channels."""
    inputs = pad(inputs, (0, 0, 0, 0, padding, padding))
    count = (inputs.shape[2] - dilation * (kernel - 1) - 1) // stride + 1
    first = stride * torch.arange(count, device=inputs.device)
    places = first[:, None] + dilation * torch.arange(kernel, device=inputs.device)
    # (images, channels, count, kernel, height, width)
    return inputs[:, :, places].transpose(1, 2).flatten(0, 1).flatten(1, 2)


def _pair(values: Sequence[int], fill: int) -> tuple[int, int]:
    *_, rows, columns = (fill, *(int(value) for value in values))
    return rows, columns
