r"""The step in the Fisher metric: its bound, and how it compares with a plain step.

.. math:: s = \sum_l \eta_l^2 \langle \tilde G_l, G_l \rangle, \qquad
          \tilde G \leftarrow \min(1, \sqrt{\kappa / s})\, \tilde G,

:math:`\eta_l` the learning rate of a layer, :math:`G_l` its gradient and :math:`\tilde G_l` the
preconditioned one. s is twice the KL divergence of the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .layer import KFACLayer

Matrices = Mapping[KFACLayer, Tensor]
"""Gradient matrices by layer."""


def kl_clip(
    plain: Matrices,
    new: Matrices,
    rates: Mapping[int, float | Tensor],
    loss_scale: float | Tensor,
    limit: float | None,
) -> Tensor | None:
    """What bounds the step, which stays on the device; None without a bound or a gradient.

    Args:
        plain: the gradients.
        new: the preconditioned ones.
        rates: learning rate by ``id(parameter)``.
        loss_scale: what the loss was multiplied by.
        limit: kappa; None for no bound.
    """
    if limit is None or not plain:
        return None
    inner = torch.stack([(g * new[x]).sum() for x, g in plain.items()]).double()
    of_layers = [rates[id(x.parameters[0])] for x in plain]
    size = inner @ _on(inner, of_layers).square() / loss_scale / loss_scale
    return kl_multiplier(size, float(limit))


def kl_multiplier(size: Tensor, limit: float) -> Tensor:
    r"""What the KL clip multiplies the gradients by: :math:`\min(1, \sqrt{\kappa / s})`.

    Args:
        size: s.
        limit: kappa.
    """
    floor = torch.finfo(size.dtype).tiny
    return (limit / size.abs().clamp(min=floor)).sqrt().clamp(max=1.0)


def compare(
    plain: Matrices, new: Matrices, clip: Tensor | None, loss_scale: float | Tensor
) -> tuple[dict[KFACLayer, list[float]], float]:
    """The gradients before and after, for the log; all numbers in one read.

    Args:
        plain: the gradients.
        new: the preconditioned ones, not clipped.
        clip: of :func:`kl_clip`; None without a bound.
        loss_scale: what the loss was multiplied by.

    Returns:
        By layer the squared length of the gradient, of the preconditioned one, and their inner
        product; and the multiplier of the clip, 1 without a bound.
    """
    rows = [
        torch.stack([(g * g).sum(), (new[x] * new[x]).sum(), (g * new[x]).sum()]).double()
        for x, g in plain.items()
    ]
    products = torch.stack(rows) / loss_scale / loss_scale
    last = products.new_ones(1, 3) if clip is None else clip.expand(1, 3)
    *listed, (multiplier, *_) = torch.cat([products, last]).tolist()
    return dict(zip(plain, listed)), multiplier


def _on(like: Tensor, values: Sequence[float | Tensor]) -> Tensor:
    """The values as one tensor beside ``like``, without waiting for the device."""
    if not any(isinstance(value, Tensor) for value in values):
        return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)
    parts = [torch.as_tensor(value, dtype=like.dtype) for value in values]
    return torch.stack([part.to(like.device, non_blocking=True) for part in parts])
