r"""How the damping is divided between the two factors of a layer.

.. math:: \pi = \sqrt{\frac{\mathrm{tr} A / \dim A}{\mathrm{tr} G / \dim G}}, \qquad
          A + \pi \sqrt{\lambda} I, \quad G + \frac{\sqrt{\lambda}}{\pi} I .

Scaling A up and G down by one number changes nothing. Source: Martens and Grosse, ICML 2015.
"""

from __future__ import annotations

from torch import Tensor

_FLOOR = 1e-30


def diagonal(factor: Tensor) -> Tensor:
    """Diagonal (g, n) of a dense factor (g, n, n); a diagonal factor (g, n) is its own."""
    return factor.diagonal(dim1=-2, dim2=-1) if factor.ndim == 3 else factor


def mean_eigenvalue(factor: Tensor) -> Tensor:
    """Trace over dimension, shape (g,)."""
    return diagonal(factor).mean(-1)


def pi_ratio(a: Tensor, g: Tensor) -> Tensor:
    """Pi of every group, shape (g,); finite also where a group has seen nothing but zeros."""
    roots = (mean_eigenvalue(factor).clamp(min=_FLOOR).sqrt() for factor in (a, g))
    return next(roots) / next(roots)


def split_damping(a: Tensor, g: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """What is added to the diagonals of A and of G, each of shape (g,)."""
    pi, root = pi_ratio(a, g), damping**0.5
    return pi * root, root / pi
