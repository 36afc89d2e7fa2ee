r"""The orthogonal factor of batches of matrices by Newton-Schulz iterations.

A step of the iteration maps every singular value :math:`s` of :math:`X` to
:math:`a s + b s^3 + c s^5`:

.. math:: X \leftarrow (a I + b R + c R^2) X, \qquad R = X X^T

With Jordan's coefficients five steps bring the singular values of a matrix of norm 1 near 1, those
above 0.0015 to between 0.67 and 1.21.

The matrix is read so that :math:`R` is of the smaller side, r x r. All factors are polynomials in
:math:`R`, so a step can be made on r x r matrices alone, :math:`Q \leftarrow P Q` and
:math:`R \leftarrow P R P`, and :math:`Q X` taken once at the end. That is cheaper from about
c = 1.5 r on, which nearly all convolutions are beyond. A rounding error of :math:`R` grows by
:math:`a^2` in a step: in float32 five steps stay within 1e-3 of the plain iteration, in half
precision the iteration begins anew from :math:`Q X` after every second step and is then as exact as
the plain one.

Products of polynomials in :math:`R` are symmetric. Of large ones three quarters are computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
RESTART_IN_HALF = 2
HALVED = 512
"""Rows from which a symmetric product is cut; below, one product is as fast as its parts."""


def orthogonalize(
    matrices: Tensor,
    steps: int = 5,
    coefficients: Sequence[float] = COEFFICIENTS,
    eps: float = 1e-7,
) -> Tensor:
    """Approximates ``U V^T`` of every matrix ``U S V^T``, as Muon does.

    Args:
        matrices: (n, rows, columns); rows <= columns is the cheap way round. Their type is that of
            the computation.
        steps: Newton-Schulz steps.
        coefficients: a, b and c of the polynomial.
        eps: Smallest norm by which a matrix is divided, so that a zero matrix stays zero.

    References:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
        https://kellerjordan.github.io/posts/muon; the iteration on R: Dao-AILab, "Gram
        Newton-Schulz", 2026, https://dao-lab.ai/blog/2026/gram-newton-schulz.
    """
    norms = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True, dtype=_exact(matrices))
    unit = matrices / norms.clamp_(min=eps).to(matrices.dtype)
    rows, columns = matrices.shape[1:]
    restart = _restart(matrices.dtype, steps)
    if gram_cost(rows, columns, steps, restart) < plain_cost(rows, columns, steps):
        return _by_gram_matrix(unit, steps, coefficients, restart)
    return _plain(unit, steps, coefficients)


def cost(rows: int, columns: int, steps: int, dtype: torch.dtype) -> int:
    """Floating-point operations of :func:`orthogonalize` for one matrix, products alone."""
    gram = gram_cost(rows, columns, steps, _restart(dtype, steps))
    return min(plain_cost(rows, columns, steps), gram)


def plain_cost(rows: int, columns: int, steps: int) -> int:
    """Floating-point operations of the plain iteration."""
    symmetric = _symmetric_cost(rows, columns) + _symmetric_cost(rows, rows)
    return steps * (symmetric + 2 * rows**2 * columns)


def gram_cost(rows: int, columns: int, steps: int, restart: int) -> int:
    """Floating-point operations of the iteration on R that begins anew after ``restart`` steps."""
    starts = -(-steps // restart)
    # R^2 in every step; P R P and P Q where neither R nor Q is fresh.
    products = steps + 3 * (steps - starts)
    start = _symmetric_cost(rows, columns) + 2 * rows**2 * columns
    return starts * start + products * _symmetric_cost(rows, rows)


def _symmetric_cost(rows: int, inner: int) -> int:
    half = rows // 2 if rows >= HALVED else rows
    return 2 * inner * (half * rows + (rows - half) ** 2)


def _plain(x: Tensor, steps: int, coefficients: Sequence[float]) -> Tensor:
    a, b, c = coefficients
    for _ in range(steps):
        r = _symmetric(x, x.mT)
        x = torch.baddbmm(x, _symmetric(r, r, r, beta=b, alpha=c), x, beta=a)
    return x


def _by_gram_matrix(x: Tensor, steps: int, coefficients: Sequence[float], restart: int) -> Tensor:
    a, b, c = coefficients
    for start in range(0, steps, restart):
        r = _symmetric(x, x.mT)
        q: Tensor | None = None
        last = min(start + restart, steps) - 1
        for step in range(start, last + 1):
            p = _symmetric(r, r, r, beta=b, alpha=c)  # without a I, which is added below
            if step < last:
                r = _symmetric(p, r, r, beta=a)
                r = _symmetric(p, r, r, beta=a)
            if q is None:
                q = p
                q.diagonal(dim1=1, dim2=2).add_(a)
            else:
                q = _symmetric(p, q, q, beta=a)
        assert q is not None
        x = torch.bmm(q, x)
    return x


def _symmetric(
    left: Tensor, right: Tensor, added: Tensor | None = None, beta: float = 1, alpha: float = 1
) -> Tensor:
    """``beta * added + alpha * left @ right``, (n, r, r), which is known to be symmetric."""

    def part(rows: slice, columns: slice) -> Tensor:
        a, b = left[:, rows], right[:, :, columns]
        if added is None:
            return torch.bmm(a, b)
        return torch.baddbmm(added[:, rows, columns], a, b, beta=beta, alpha=alpha)

    size = left.shape[1]
    if size < HALVED:
        return part(slice(None), slice(None))
    half = size // 2
    top, corner = part(slice(half), slice(None)), part(slice(half, None), slice(half, None))
    return torch.cat([top, torch.cat([top[:, :, half:].mT, corner], 2)], 1)


def _restart(dtype: torch.dtype, steps: int) -> int:
    return RESTART_IN_HALF if dtype.itemsize < 4 else steps


def _exact(matrices: Tensor) -> torch.dtype:
    """The type in which norms are added up."""
    return torch.promote_types(matrices.dtype, torch.float32)
