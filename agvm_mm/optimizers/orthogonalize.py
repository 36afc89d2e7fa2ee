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
:math:`a^2` in a step: in float32 five steps stay within 2e-4 of the plain iteration, in half
precision the iteration begins anew from :math:`Q X` after every second step and is then as exact as
the plain one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
RESTART_IN_HALF = 2


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
    return steps * (4 * rows**2 * columns + 2 * rows**3)


def gram_cost(rows: int, columns: int, steps: int, restart: int) -> int:
    """Floating-point operations of the iteration on R that begins anew after ``restart`` steps."""
    starts = -(-steps // restart)
    # R^2 in every step; P R P and P Q where neither R nor Q is fresh.
    products = steps + 3 * (steps - starts)
    return starts * 4 * rows**2 * columns + 2 * products * rows**3


def _plain(x: Tensor, steps: int, coefficients: Sequence[float]) -> Tensor:
    a, b, c = coefficients
    for _ in range(steps):
        r = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(r, r, r, beta=b, alpha=c), x, beta=a)
    return x


def _by_gram_matrix(x: Tensor, steps: int, coefficients: Sequence[float], restart: int) -> Tensor:
    a, b, c = coefficients
    for start in range(0, steps, restart):
        r = torch.bmm(x, x.mT)
        q: Tensor | None = None
        last = min(start + restart, steps) - 1
        for step in range(start, last + 1):
            p = torch.baddbmm(r, r, r, beta=b, alpha=c)  # without a I, which baddbmm adds below
            if step < last:
                r = torch.baddbmm(r, p, r, beta=a)
                r = torch.baddbmm(r, p, r, beta=a)
            if q is None:
                q = p
                q.diagonal(dim1=1, dim2=2).add_(a)
            else:
                q = torch.baddbmm(q, p, q, beta=a)
        assert q is not None
        x = torch.bmm(q, x)
    return x


def _restart(dtype: torch.dtype, steps: int) -> int:
    return RESTART_IN_HALF if dtype.itemsize < 4 else steps


def _exact(matrices: Tensor) -> torch.dtype:
    """The type in which norms are added up."""
    return torch.promote_types(matrices.dtype, torch.float32)
