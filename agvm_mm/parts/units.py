r"""Adaptive gradient clipping: the gradient of a unit is bounded by the norm of its weight.

A unit is the weights of one output: a row of a linear layer, a filter of a convolution, a whole
bias or gain. With :math:`m = \lambda \max(\|W\|, \epsilon)` a unit's gradient becomes

.. math:: G \leftarrow \frac{m}{\max(\|G\|, 10^{-6})}\, G \quad \text{where } \|G\| > m .

The floor epsilon lets units that start at zero move. A gradient that is not a number stays one.

References:
    Brock, De, Smith, Simonyan, "High-Performance Large-Scale Image Recognition Without
    Normalization", ICML 2021, arXiv:2102.06171, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_NORM = 1e-6  # of a gradient, as divisor
GAIN_MODES = ('vector', 'element')


@dataclass(frozen=True)
class UnitView:
    """How a tensor is divided into units.

    Args:
        shape: the tensor is viewed as this shape.
        dims: dimensions that a unit spans; the others count the units.
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether the tensor is a single unit of one dimension."""
        return len(self.shape) == 1

    @property
    def norm_shape(self) -> tuple[int, ...]:
        """Shape of the units' norms, to be multiplied with the view."""
        return tuple(1 if i in self.dims else size for i, size in enumerate(self.shape))


def view_units(shape: Sequence[int], gain_mode: str = 'vector') -> UnitView:
    """Units of a tensor whose first dimension counts the outputs; a vector is one unit.

    Args:
        shape: of the weight.
        gain_mode: a tensor with one dimension above 1, such as the (C, 1, 1, 1) gain of a
            weight-standardised convolution, is one unit ('vector', as in the authors' code) or
            one unit an output ('element', as in timm).
    """
    vector = sum(size > 1 for size in shape) <= 1 and gain_mode == 'vector'
    if vector or len(shape) < 2:
        return UnitView((-1,), (0,))
    return UnitView(tuple(shape), tuple(range(1, len(shape))))


def view_transposed_units(shape: Sequence[int], groups: int = 1) -> UnitView:
    """Units of a transposed convolution, whose weight is (inputs, outputs / groups, ...)."""
    inputs, outputs, *kernel = shape
    grouped = (groups, inputs // groups, outputs, *kernel)
    return UnitView(grouped, (1, *range(3, len(grouped))))


@torch.no_grad()
def clip_units_(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    views: Sequence[UnitView],
    clip_factor: float = 0.01,
    eps: float = 1e-3,
    loss_scale: float | Tensor = 1.0,
) -> Tensor:
    """Clip the gradients in place, all tensors of one device together.

    Args:
        weights: the parameters.
        gradients: theirs, changed in place.
        views: how each pair is divided into units.
        clip_factor: lambda, the largest norm of a gradient per norm of its weight.
        eps: the smallest norm of a weight that counts.
        loss_scale: the multiplier of the gradients in mixed precision.

    Returns:
        Whether each unit was clipped, shape (units,), bool, in the order of the tensors.
    """
    pieces = [gradient.view(view.shape) for gradient, view in zip(gradients, views)]
    limits = _norms([w.view(view.shape) for w, view in zip(weights, views)], views)
    norms = _norms(pieces, views)
    sizes = [norm.numel() for norm in norms]
    limit = torch.cat([norm.flatten() for norm in limits]).clamp_(min=eps).mul_(clip_factor)
    limit = limit * loss_scale
    norm = torch.cat([norm.flatten() for norm in norms])
    clipped = norm > limit
    scale = torch.where(clipped, limit / norm.clamp(min=SMALLEST_NORM * loss_scale), 1.0)
    scales = [part.view(like.shape) for part, like in zip(scale.split(sizes), norms)]
    torch._foreach_mul_(pieces, scales)
    return clipped


def _norms(tensors: Sequence[Tensor], views: Sequence[UnitView]) -> list[Tensor]:
    """Norms of the units, in float32 for half precision; whole tensors in one call."""
    whole = [i for i, view in enumerate(views) if view.whole and tensors[i].dtype.itemsize >= 4]
    together = dict(zip(whole, torch._foreach_norm([tensors[i] for i in whole]) if whole else ()))
    return [
        together[i].reshape(1) if i in together else _norm(tensor, view)
        for i, (tensor, view) in enumerate(zip(tensors, views))
    ]


def _norm(tensor: Tensor, view: UnitView) -> Tensor:
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=view.dims, keepdim=True, dtype=dtype)
    return norm
