"""Norms and inner products of many tensors, kept on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# A CPU kernel adds a whole tensor into a few float32 sums: 6e-4 off at 14 million elements. Rows
# of this length, added up in float64, are right to 1e-8 and as fast.
ROW = 2**14


def norm_dtype(tensor: Tensor) -> torch.dtype:
    """Precision within a row: float64 for float64, otherwise float32.

    Half-precision gradients would overflow in their own type.
    """
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def squared_norm(tensor: Tensor) -> Tensor:
    """Squared L2 norm as a float64 scalar on the tensor's device.

    Infinite for float32 rows of a norm above 1e19, as for any gradient that has diverged.
    """
    rows, rest = _rows(tensor)
    total: Tensor = torch.linalg.vector_norm(rest, dtype=norm_dtype(tensor)).double().square()
    if rows.numel():
        norms = torch.linalg.vector_norm(rows, dim=1, dtype=norm_dtype(tensor))
        total = total + norms.double().square().sum()
    return total


def inner_product(left: Tensor, right: Tensor) -> Tensor:
    """Inner product of two tensors of one shape, as a float64 scalar."""
    dtype = norm_dtype(left)
    (rows_a, rest_a), (rows_b, rest_b) = _rows(left.to(dtype)), _rows(right.to(dtype))
    total = torch.dot(rest_a, rest_b).double()
    if rows_a.numel():
        total = total + torch.linalg.vecdot(rows_a, rows_b).double().sum()
    return total


def stack(values: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Float64 scalars as one vector, shape (P,); None counts as zero."""
    zero = torch.zeros((), dtype=torch.float64, device=device)
    return torch.stack([zero if value is None else value for value in values])


def squared_norms(tensors: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Squared L2 norms, shape (P,), float64; None counts as zero."""
    return stack([None if tensor is None else squared_norm(tensor) for tensor in tensors], device)


def _rows(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor as rows of :data:`ROW` elements and the rest; on a GPU all is rest."""
    flat = tensor.reshape(-1)
    whole = flat.numel() // ROW * ROW if flat.device.type == 'cpu' else 0
    return flat[:whole].view(-1, ROW), flat[whole:]
