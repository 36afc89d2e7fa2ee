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


def norms(tensor: Tensor) -> Tensor:
    """L2 norms of consecutive pieces, shape (k,); the sum of their squares is that of the tensor.

    Infinite for float32 pieces of a norm above 1e19, as for any gradient that has diverged.
    """
    rows, rest = _rows(tensor)
    dtype = norm_dtype(tensor)
    pieces = [torch.linalg.vector_norm(rows, dim=1, dtype=dtype)] if rows.numel() else []
    if rest.numel() or not pieces:
        pieces.append(torch.linalg.vector_norm(rest, dim=0, keepdim=True, dtype=dtype))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def sums_of_squares(pieces: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Squared L2 norms, shape (P,), float64, from P results of :func:`norms`; None counts as zero.

    All at once, because one small operation for every tensor takes longer than the norms.
    """
    zero = torch.zeros(1, device=device)
    present = [zero if piece is None else piece for piece in pieces]
    squares = torch.cat(present).double().square()
    if len(squares) == len(present):
        return squares
    lengths = torch.tensor([len(piece) for piece in present], device=device)
    sums: Tensor = torch.segment_reduce(squares, 'sum', lengths=lengths)
    return sums


def squared_norms(tensors: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Squared L2 norms, shape (P,), float64; None counts as zero."""
    return sums_of_squares([None if one is None else norms(one) for one in tensors], device)


def inner_product(left: Tensor, right: Tensor) -> Tensor:
    """Inner product of two tensors of one shape, as a float64 scalar."""
    dtype = norm_dtype(left)
    (rows_a, rest_a), (rows_b, rest_b) = _rows(left.to(dtype)), _rows(right.to(dtype))
    total = torch.dot(rest_a, rest_b).double()
    if rows_a.numel():
        total = total + torch.linalg.vecdot(rows_a, rows_b).double().sum()
    return total


def _rows(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor as rows of :data:`ROW` elements and the rest; on a GPU all is rest."""
    flat = tensor.reshape(-1)
    whole = flat.numel() // ROW * ROW if flat.device.type == 'cpu' else 0
    return flat[:whole].view(-1, ROW), flat[whole:]
