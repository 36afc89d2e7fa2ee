"""The modules that K-FAC knows: what they measure and how their gradient is a matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import factors
from .blocks import Shape, block_rows
from .normalize import Statistics, channel_axis, normalized, statistics


class ModuleHelper(ABC):
    """One module with its weight and, if it has one, bias.

    Args:
        name: of the module in the network.
        module: the module.
        max_size: rows above which a factor keeps its diagonal alone.
        keys: of weight and bias in the module.

    Attributes:
        shapes: of the factors; (g, n, m) for a dense one in blocks of m, (g, n) for a diagonal one.
        keys: without that of a bias that the module lacks.
        parameters: weight first.
        rows: of each parameter that belong to this layer.
    """

    shapes: list[Shape]

    def __init__(
        self,
        name: str,
        module: Any,
        max_size: int,
        keys: Sequence[str] = ('weight', 'bias'),
    ) -> None:
        self.name = name
        self.module = module
        self.keys = [key for key in keys if getattr(module, key) is not None]
        self.parameters: list[nn.Parameter] = [getattr(module, key) for key in self.keys]
        self.rows = [slice(None)] * len(self.parameters)
        self.parameter_names = [f'{name}.{key}' if name else key for key in self.keys]
        self._max_size = max_size

    @property
    def kind(self) -> str:
        """What the layer is called in a list."""
        return type(self.module).__name__

    @property
    def size(self) -> int:
        """Numbers in the gradient."""
        return sum(p[rows].numel() for p, rows in zip(self.parameters, self.rows))

    @property
    def dtype(self) -> torch.dtype:
        """Of factors and preconditioned gradients: float64 for float64 weights, else float32."""
        double = self.parameters[0].dtype == torch.float64
        return torch.float64 if double else torch.float32

    @property
    def has_bias(self) -> bool:
        """Whether the gradient has a column for the bias."""
        return len(self.parameters) == 2

    def context(self, inputs: Tensor) -> Any:
        """What :meth:`add` will need of a call's input, kept until the gradient arrives."""
        return inputs

    @abstractmethod
    def add(self, sums: list[Tensor], context: Any, gradient: Tensor) -> int:
        """Add one call to the factors' sums and return its positions.

        Args:
            sums: the sums, of :attr:`shapes`, changed in place.
            context: of :meth:`context`.
            gradient: of each image's own loss with respect to the call's output.
        """

    @abstractmethod
    def divide(self, sums: list[Tensor], images: float, positions: float) -> list[Tensor]:
        """The factors from their sums over all ranks, which they overwrite."""

    def matrix(self) -> Tensor | None:
        """The gradient in the shape that the factors multiply; None without a gradient."""
        parts = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        return self.join(parts) if len(parts) == len(self.parameters) else None

    @abstractmethod
    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Gradients of :attr:`parameters` as one matrix; :meth:`split` takes it apart."""

    def write(self, matrix: Tensor) -> None:
        """Put a preconditioned matrix into the parameters' gradients."""
        for parameter, rows, part in zip(self.parameters, self.rows, self.split(matrix)):
            assert parameter.grad is not None
            target = parameter.grad[rows]
            target.copy_(part.reshape(target.shape))

    def split(self, matrix: Tensor) -> list[Tensor]:
        """The columns of weight and bias."""
        width = matrix.shape[2] - 1 if self.has_bias else matrix.shape[2]
        return [matrix[:, :, :width], matrix[:, :, width:]][: len(self.parameters)]

    def rescale(self) -> None:  # noqa: B027
        """Shrink a weight that has a row for every output."""

    def cut(self, max_block: int | None) -> None:  # noqa: B027
        """Cut factors of more rows into blocks."""

    def _shape(self, groups: int, size: int) -> Shape:
        return (groups, size, size) if size <= self._max_size else (groups, size)


class KroneckerHelper(ModuleHelper):
    """A layer whose Fisher block is G (x) A: inputs x times output gradients g.

    Attributes:
        groups: pairs of factors, one for every group of outputs.
        outputs: of all groups.
        unit: rows of A that one input channel has.
    """

    groups = 1
    outputs: int
    unit = 1

    def cut(self, max_block: int | None) -> None:
        """Between the channels of inputs and of outputs."""
        if max_block is not None:
            units = self.unit, 1
            self.shapes = [
                (*shape[:2], block_rows(shape[1], max_block, unit)) if len(shape) == 3 else shape
                for shape, unit in zip(self.shapes, units)
            ]

    def divide(self, sums: list[Tensor], images: float, positions: float) -> list[Tensor]:
        """A summed over the positions of an image, G averaged."""
        return [sums[0].div_(images), sums[1].div_(positions)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """As (groups, outputs, inputs [+ 1])."""
        own = [part[rows] for part, rows in zip(parts, self.rows)]
        height = self.outputs // self.groups
        matrices = [part.reshape(self.groups, height, -1) for part in own]
        return matrices[0] if len(matrices) == 1 else torch.cat(matrices, 2)

    @torch.no_grad()
    def rescale(self) -> None:
        r"""Shrink the weight to a fixed length, for a weight in front of a norm layer.

        .. math:: W \leftarrow W \min\!\left(1, \frac{\sqrt{2 d_{out}}}{\|W\| + 10^{-9}}\right)

        Source: Osawa et al., CVPR 2019.
        """
        weight = self.parameters[0][self.rows[0]]
        scale = (2 * self.outputs) ** 0.5 / (weight.norm() + 1e-9)
        weight.mul_(scale.clamp(max=1.0))

    def _set_shapes(self, inputs: int, outputs: int) -> None:
        """Of ``inputs`` columns and ``outputs`` rows of a group's weight."""
        columns = inputs + int(self.has_bias)
        self.outputs = self.groups * outputs
        self.shapes = [self._shape(self.groups, columns), self._shape(self.groups, outputs)]


class LinearHelper(KroneckerHelper):
    """A Linear on inputs of any leading shape."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        max_size: int,
        keys: Sequence[str] = ('weight', 'bias'),
    ) -> None:
        super().__init__(name, module, max_size, keys)
        outputs, inputs = self.parameters[0].shape
        self._set_shapes(inputs, outputs)

    def add(self, sums: list[Tensor], context: Any, gradient: Tensor) -> int:
        """Every row of the inputs is a position."""
        columns = factors.linear_columns(context)
        factors.add_outer(sums[0], factors.with_ones(columns) if self.has_bias else columns)
        factors.add_outer(sums[1], factors.linear_columns(gradient))
        return columns.shape[2]


class NormHelper(ModuleHelper):
    """Scale and shift of a norm layer: a 2 x 2 block for every channel.

    A sample is a row of the first dimension: an image, or one of its regions of interest.
    """

    def __init__(self, name: str, module: nn.Module, max_size: int) -> None:
        super().__init__(name, module, max_size)
        self.shapes = [(self.parameters[0].numel(), 2, 2)]

    def context(self, inputs: Tensor) -> tuple[Tensor, Statistics]:
        """The input and its statistics; a vector by itself, as a LayerNorm takes, is one sample."""
        inputs = inputs if inputs.ndim > 1 else inputs[None]
        return inputs, statistics(self.module, inputs)

    def add(self, sums: list[Tensor], context: Any, gradient: Tensor) -> int:
        """Every sample is a position."""
        if not len(gradient):
            return 0
        gradient = gradient if gradient.ndim > 1 else gradient[None]
        values, axis = normalized(self.module, *context), channel_axis(self.module)
        factors.add_unit_outer(sums[0], factors.unit_gradients(values, gradient, axis))
        return len(gradient)

    def divide(self, sums: list[Tensor], images: float, positions: float) -> list[Tensor]:
        """The block of every channel, averaged over images."""
        return [sums[0].div_(images)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """As (channels, 2, 1)."""
        return torch.stack(list(parts), 1)[..., None]

    def split(self, matrix: Tensor) -> list[Tensor]:
        """Scale and shift."""
        return [matrix[:, 0], matrix[:, 1]]
