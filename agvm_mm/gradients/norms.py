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
    (rows, rest), dtype = _rows(tensor), norm_dtype(tensor)
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
    if not tensors:
        return torch.zeros(0, dtype=torch.float64, device=device)
    if device.type == 'cpu':
        return sums_of_squares([None if one is None else norms(one) for one in tensors], device)
    present = [one.to(norm_dtype(one)) for one in tensors if one is not None]
    found = iter(torch._foreach_norm(present) if present else ())
    zero = torch.zeros((), device=device)
    lengths = [zero if one is None else next(found) for one in tensors]
    return torch.stack(lengths).double().square()


def inner_products(
    left: Sequence[Tensor | None], right: Sequence[Tensor | None], device: torch.device
) -> Tensor:
    """Inner products of pairs of one shape, shape (P,), float64; None counts as zero."""
    zero = torch.zeros((), dtype=torch.float64, device=device)
    pairs = zip(left, right)
    found = [zero if a is None or b is None else _inner_product(a, b) for a, b in pairs]
    return torch.stack(found) if found else torch.zeros(0, dtype=torch.float64, device=device)


def _inner_product(left: Tensor, right: Tensor) -> Tensor:
    dtype = norm_dtype(left)
    order = _order(left)
    (rows_a, rest_a), (rows_b, rest_b) = _rows(left.to(dtype), order), _rows(right.to(dtype), order)
    total = torch.dot(rest_a, rest_b).double()
    if rows_a.numel():
        total = total + torch.linalg.vecdot(rows_a, rows_b).double().sum()
    return total


def _rows(tensor: Tensor, order: list[int] | None = None) -> tuple[Tensor, Tensor]:
    """The tensor as rows of :data:`ROW` elements and the rest; on a GPU all is rest."""
    flat = tensor.permute(_order(tensor) if order is None else order).reshape(-1)
    whole = flat.numel() // ROW * ROW if flat.device.type == 'cpu' else 0
    return flat[:whole].view(-1, ROW), flat[whole:]


def _order(tensor: Tensor) -> list[int]:
    """The dimensions as memory holds them, in which a channels_last tensor is flat already."""
    return sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
