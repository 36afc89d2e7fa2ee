"""Norms and inner products of many tensors, kept on the device."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor


def norm_dtype(tensor: Tensor) -> torch.dtype:
    """Precision in which a norm is accumulated: float64 for float64, otherwise float32.

    Half-precision gradients would overflow in their own type.
    """
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def norm(tensor: Tensor) -> Tensor:
    """L2 norm as a scalar on the tensor's device."""
    return torch.linalg.vector_norm(tensor, dtype=norm_dtype(tensor))


def squared(norms: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Squares of scalar norms, shape (P,), float64; None counts as zero.

    Squared in float64, where the square of any float32 norm is finite.
    """
    zero = torch.zeros((), dtype=torch.float64, device=device)
    return torch.stack([zero if n is None else n.double() for n in norms]).square()


def squared_norms(tensors: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Squared L2 norms, shape (P,), float64; None counts as zero."""
    return squared([None if t is None else norm(t) for t in tensors], device)


def inner_product(left: Tensor, right: Tensor) -> Tensor:
    """Inner product of two tensors of one shape, as a float64 scalar."""
    dtype = norm_dtype(left)
    return torch.dot(left.reshape(-1).to(dtype), right.reshape(-1).to(dtype)).double()
