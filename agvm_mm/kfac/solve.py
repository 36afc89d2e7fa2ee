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

from .blocks import stacks

SOLVERS = ('cholesky', 'eigen')
_FLOOR = 1e-30


def diagonal(factor: Tensor) -> Tensor:
    """Diagonal (g, n) of a dense factor (g, n, m); a diagonal factor (g, n) is its own."""
    if factor.ndim == 2:
        return factor
    return torch.cat([stack.diagonal(dim1=2, dim2=3).flatten(1) for stack in stacks(factor)], 1)


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
        factor: dense (g, n, m), of which the blocks' lower triangles are read, or diagonal (g, n).
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
    added = added[..., None] if isinstance(added, Tensor) else added
    inverse = torch.zeros_like(factor)
    for source, target in zip(stacks(wide), stacks(inverse)):
        target.copy_(_inverse_of_stack(source, added, thorough))
    return inverse


def _inverse_of_stack(wide: Tensor, added: Tensor | float, thorough: bool) -> Tensor:
    """``(F + added I)^-1`` of blocks (g, b, m, m); added is (g, 1, 1)."""
    if thorough:
        values, vectors = torch.linalg.eigh(wide)
        scaled: Tensor = vectors / (values.clamp(min=0) + added)[..., None, :]
        inverse: Tensor = scaled @ vectors.mT
        return inverse
    damped = wide.clone()
    damped.diagonal(dim1=2, dim2=3).add_(added)
    root, failed = torch.linalg.cholesky_ex(damped)
    # Failures are found among the numbers: to read an error code, the host would have to wait.
    return _inverse_of_root(root).masked_fill_(failed.any(), torch.nan)


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
        ``cholesky``: one inverse for each factor. ``eigen``: eigenvectors (g, n, m), empty for a
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
        left = _rows(g, matrix)
        return _columns(a, left) if a.ndim == 3 else left.mul_(a[:, None, :])
    vectors_a, values_a, vectors_g, values_g = solution
    rotated = _rows(vectors_g, matrix, transposed=True) if vectors_g.numel() else matrix
    rotated = _columns(vectors_a, rotated) if vectors_a.numel() else rotated
    rotated = rotated / (values_g[..., None] * values_a[:, None, :] + damping)
    rotated = _rows(vectors_g, rotated) if vectors_g.numel() else rotated
    return _columns(vectors_a, rotated, transposed=True) if vectors_a.numel() else rotated


def _rows(factor: Tensor, matrix: Tensor, transposed: bool = False) -> Tensor:
    """Blocks (g, n, m), or a diagonal (g, n), times a matrix (g, n, c)."""
    if factor.ndim == 2:
        return factor[..., None] * matrix
    parts: list[Tensor] = []
    for stack in stacks(factor):
        start = sum(part.shape[1] for part in parts)
        rows = matrix[:, start : start + stack.shape[1] * stack.shape[2]]
        stack = stack.mT if transposed else stack
        parts.append((stack @ rows.unflatten(1, stack.shape[1:3])).flatten(1, 2))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _columns(factor: Tensor, matrix: Tensor, transposed: bool = False) -> Tensor:
    """A matrix (g, r, n) times blocks (g, n, m)."""
    parts: list[Tensor] = []
    for stack in stacks(factor):
        start = sum(part.shape[2] for part in parts)
        columns = matrix[:, :, start : start + stack.shape[1] * stack.shape[2]]
        stack = stack.mT if transposed else stack
        product = columns.unflatten(2, stack.shape[1:3]).transpose(1, 2) @ stack
        parts.append(product.transpose(1, 2).flatten(2))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _eigen(factor: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    if factor.ndim == 2:
        return factor.new_empty(0), factor.clamp(min=0)
    vectors, values = torch.zeros_like(factor), []
    for source, target in zip(stacks(factor), stacks(vectors)):
        found, basis = torch.linalg.eigh(source.to(torch.promote_types(dtype, factor.dtype)))
        target.copy_(basis)
        values.append(found.flatten(1))
    return vectors, torch.cat(values, 1).clamp(min=0).to(factor.dtype)


def _inverse_of_root(root: Tensor) -> Tensor:
    if root.device.type == 'cpu':
        inverse: Tensor = torch.cholesky_inverse(root)
        return inverse
    # It reads an error code, for which the host would have to wait.
    identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    return torch.cholesky_solve(identity.expand_as(root), root)
