r"""From moments to the normalised variance and the noise scale.

All functions take and return float64 tensors of shape (M,), one entry a module, and are exact
for N sample gradients :math:`g_1 \dots g_N` with mean :math:`G`:

.. math:: A = \frac1N \sum_k |g_k|^2, \qquad B = |G|^2 .

Source: McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, appendix A;
Xue et al., "Large-batch Optimization for Dense Visual Predictions", NeurIPS 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .estimate import VarianceEstimate


def _require_samples(samples: int) -> None:
    if samples < 2:
        raise ValueError(
            f'{samples} sample gradient has no variance: at least 2 are needed '
            '(ranks x accumulative_counts).'
        )


def noise_scale(phi: Tensor, images: float) -> Tensor:
    r"""Simple noise scale in images, from the normalised variance at a batch of ``images``.

    .. math:: B_\mathrm{simple} = \frac{\mathrm{tr}\,\mathrm{Cov}}{|E g|^2}
              = \frac{b}{2} \frac{\varphi}{1 - \varphi}

    the inverse of :math:`\varphi = 1 / (1 + b / (2 B_\mathrm{simple}))`. Infinite where
    :math:`\varphi \ge 1`: the batch is too small to see any signal.

    Args:
        phi: normalised variance, shape (M,).
        images: b, images in the whole batch.
    """
    scale = 0.5 * images * phi / (1 - phi)
    return torch.where(phi < 1, scale, torch.where(phi.isnan(), phi, torch.inf))


def moment_estimate(a: Tensor, b: Tensor, samples: int, images: float = 0) -> VarianceEstimate:
    r"""The two parts of the normalised variance from the moments of all pairs.

    With the unbiased squared norm S of the expected gradient and the unbiased trace V of the
    covariance of one sample gradient,

    .. math:: S = \frac{N B - A}{N - 1} = \frac{2}{N(N-1)} \sum_{j<k} \langle g_j, g_k \rangle,
              \qquad V = \frac{N (A - B)}{N - 1} = \frac{1}{N-1} \sum_k |g_k - G|^2,

    .. math:: \varphi = \frac{2 V / N}{S + 2 V / N} = \frac{2 (A - B)}{(N - 2) B + A} \in [0, 2] .

    S is negative by chance when the noise is large and must not be clamped before averaging. Both
    parts are divided by N - 1, so that they have one unit whatever N is. The noise of an image is
    :math:`v = b V / N` at a batch of b images.

    Args:
        a: A, the mean squared norm of the sample gradients, shape (M,).
        b: B, the squared norm of the mean gradient, shape (M,).
        samples: N, at least 2.
        images: b, images in the whole batch; 0 when the model does not tell.

    Raises:
        ValueError: fewer than two sample gradients.
    """
    _require_samples(samples)
    numerator, denominator = 2 * (a - b), (samples - 2) * b + a
    pairs = samples - 1
    of_image = 0.5 * images * numerator / pairs if images else None
    return VarianceEstimate(numerator / pairs, denominator / pairs, samples, images, of_image)


def cosine_estimate(
    dot: Tensor, square_a: Tensor, square_b: Tensor, samples: int, images: float = 0
) -> VarianceEstimate:
    r"""The two parts of the paper's own measure, the cosine of two half-batch means.

    .. math:: \varphi = 1 - \cos(G_a, G_b)
              = \frac{|G_a| |G_b| - \langle G_a, G_b \rangle}{|G_a| |G_b|}

    The noise of an image comes from the difference of the halves, which is unbiased for halves of
    any size:

    .. math:: E |G_a - G_b|^2 = v \left(\frac{1}{b_a} + \frac{1}{b_b}\right) = \frac{4 v}{b}

    Args:
        dot: inner product of the half-batch means, shape (M,).
        square_a: squared norm of the first mean, shape (M,).
        square_b: squared norm of the second mean, shape (M,).
        samples: N, at least 2.
        images: b, images in the whole batch.
    """
    _require_samples(samples)
    norms = torch.sqrt(square_a) * torch.sqrt(square_b)
    of_image = 0.25 * images * (square_a + square_b - 2 * dot) if images else None
    return VarianceEstimate(norms - dot, norms, samples, images, of_image)
