r"""From factors to the preconditioned gradient.

``cholesky`` inverts each damped factor, :math:`G_\lambda^{-1} M A_\lambda^{-1}`; ``eigen`` damps
their product exactly, :math:`(G \otimes A + \lambda I)^{-1} M`. A layer without Kronecker
structure has one factor and takes :math:`(F + \lambda I)^{-1} M` in both.

Source: Osawa et al., CVPR 2019, section 3; George et al., NeurIPS 2018, for the eigenbasis.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SOLVERS = ('cholesky', 'eigen')
_FLOOR = 1e-30


def diagonal(factor: Tensor) -> Tensor:
    """Diagonal (g, n) of a dense factor (g, n, n); a diagonal factor (g, n) is its own."""
    return factor.diagonal(dim1=-2, dim2=-1) if factor.ndim == 3 else factor


def pi_ratio(a: Tensor, g: Tensor) -> Tensor:
    """Pi of every group, shape (g,); finite also where a group has seen nothing but zeros."""
    roots = (diagonal(factor).mean(-1).clamp(min=_FLOOR).sqrt() for factor in (a, g))
    return next(roots) / next(roots)


def split_damping(a: Tensor, g: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    r"""What is added to the diagonals of A and of G, each of shape (g,).

    .. math:: \pi = \sqrt{\frac{\mathrm{tr} A / \dim A}{\mathrm{tr} G / \dim G}}, \qquad
              A + \pi \sqrt{\lambda} I, \quad G + \frac{\sqrt{\lambda}}{\pi} I .

    Scaling A up and G down by one number changes nothing. Source: Martens and Grosse, ICML 2015.
    """
    pi, root = pi_ratio(a, g), damping**0.5
    return pi * root, root / pi


def damped_inverse(
    factor: Tensor, damping: Tensor | float, dtype: torch.dtype, thorough: bool = False
) -> Tensor:
    """``(F + damping I)^-1`` in the factor's own shape and dtype.

    Args:
        factor: dense (g, n, n), of which the lower triangle is read, or diagonal (g, n).
        damping: one number, or one for every group, shape (g,).
        dtype: least precision of the inversion.
        thorough: invert in the eigenbasis, with the negative eigenvalues set to zero, what rounding
            has left without a Cholesky decomposition; without it such an inverse is NaN.

    Raises:
        RuntimeError: the library gives up.
    """
    dtype = torch.promote_types(dtype, factor.dtype)
    wide = factor.to(dtype)
    added = damping.to(dtype)[:, None] if isinstance(damping, Tensor) else damping
    if factor.ndim == 2:
        return (wide.clamp(min=0) + added).reciprocal().to(factor.dtype)
    if thorough:
        values, vectors = torch.linalg.eigh(wide)
        scaled: Tensor = vectors / (values.clamp(min=0) + added)[:, None, :]
        inverse: Tensor = scaled @ vectors.mT
        return inverse.to(factor.dtype)
    damped = wide.clone()
    diagonal(damped).add_(added)
    root, failed = torch.linalg.cholesky_ex(damped)
    # Failures are found among the numbers: to read an error code, the host would have to wait.
    inverse = _inverse_of_root(root).masked_fill_(failed.any(), torch.nan)
    return inverse.to(factor.dtype)


def pair_inverse(pairs: Tensor, damping: float) -> Tensor:
    r"""``(F + damping I)^-1`` of 2 x 2 blocks (c, 2, 2), in closed form and float64.

    .. math:: (F + \lambda I)^{-1} = \frac{1}{\det F + \lambda \,\mathrm{tr} F + \lambda^2}
              \begin{pmatrix} c + \lambda & -b \\ -b & a + \lambda \end{pmatrix}, \qquad
              F = \begin{pmatrix} a & b \\ b & c \end{pmatrix}.

    Rounding may make :math:`\det F` negative, which it never is; it then counts as zero.
    """
    a, b, c = (part.double() for part in (pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 1, 1]))
    determinant = (a * c - b * b).clamp(min=0) + damping * (a + c) + damping**2
    cofactors = torch.stack([c + damping, -b, -b, a + damping], -1) / determinant[:, None]
    return cofactors.view_as(pairs).to(pairs.dtype)


def solve(
    factors: Sequence[Tensor],
    damping: float,
    solver: str,
    dtype: torch.dtype,
    thorough: bool = False,
) -> list[Tensor]:
    """What :func:`precondition` needs of a layer's factors; not finite where it has failed.

    Args:
        factors: A and G, or the 2 x 2 blocks of a norm layer.
        damping: lambda.
        solver: one of :data:`SOLVERS`.
        dtype: least precision.
        thorough: see :func:`damped_inverse`.

    Returns:
        ``cholesky``: one inverse for each factor. ``eigen``: eigenvectors (g, n, n), empty for a
        diagonal factor, and eigenvalues (g, n) of A, then those of G.

    Raises:
        RuntimeError: the library gives up.
    """
    if len(factors) == 1:
        return [pair_inverse(factors[0], damping)]
    a, g = factors
    if solver == 'cholesky':
        dampings = split_damping(a, g, damping)
        return [damped_inverse(f, d, dtype, thorough) for f, d in zip(factors, dampings)]
    return [*_eigen(a, dtype), *_eigen(g, dtype)]


def solution_shapes(shapes: Sequence[tuple[int, ...]], solver: str) -> list[tuple[int, ...]]:
    """Shapes of what :func:`solve` returns, from those of the factors."""
    if solver == 'cholesky' or len(shapes) == 1:
        return list(shapes)
    return [part for shape in shapes for part in ((shape if len(shape) == 3 else (0,)), shape[:2])]


def precondition(matrix: Tensor, solution: Sequence[Tensor], damping: float) -> Tensor:
    """The preconditioned gradient.

    Args:
        matrix: gradient (g, rows of G, columns of A), or (g, n, 1) for a single factor.
        solution: of :func:`solve`.
        damping: lambda; the eigenbasis adds it here.
    """
    if len(solution) == 1:
        return solution[0] @ matrix
    if len(solution) == 2:
        a, g = solution
        left = g @ matrix if g.ndim == 3 else g[..., None] * matrix
        return left @ a if a.ndim == 3 else left * a[:, None, :]
    vectors_a, values_a, vectors_g, values_g = solution
    rotated = vectors_g.mT @ matrix if vectors_g.numel() else matrix
    rotated = rotated @ vectors_a if vectors_a.numel() else rotated
    rotated = rotated / (values_g[..., None] * values_a[:, None, :] + damping)
    rotated = vectors_g @ rotated if vectors_g.numel() else rotated
    return rotated @ vectors_a.mT if vectors_a.numel() else rotated


def kl_multiplier(size: Tensor, limit: float) -> Tensor:
    r"""What the KL clip multiplies the gradients by: :math:`\min(1, \sqrt{\kappa / s})`.

    Args:
        size: s, squared learning rate times the inner product of preconditioned and plain gradient,
            summed over layers: twice the KL divergence of the step.
        limit: kappa.
    """
    floor = torch.finfo(size.dtype).tiny
    return (limit / size.abs().clamp(min=floor)).sqrt().clamp(max=1.0)


def _eigen(factor: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    if factor.ndim == 2:
        return factor.new_empty(0), factor.clamp(min=0)
    values, vectors = torch.linalg.eigh(factor.to(torch.promote_types(dtype, factor.dtype)))
    return vectors.to(factor.dtype), values.clamp(min=0).to(factor.dtype)


def _inverse_of_root(root: Tensor) -> Tensor:
    if root.device.type == 'cpu':
        inverse: Tensor = torch.cholesky_inverse(root)
        return inverse
    # It reads an error code, for which the host would have to wait.
    identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    return torch.cholesky_solve(identity.expand_as(root), root)
