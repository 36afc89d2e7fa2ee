r"""Spread of the normalised variance over draws of N sample gradients, and what theory says.

Theory is first order in the spread, for Gaussian noise of covariance :math:`\Sigma` about
:math:`\mu`. The mean gradient, with :math:`B = |G|^2`, and the noise estimate are independent:

.. math::
   \varphi &= \frac{2 v}{B + v}, \qquad v = V / N \\
   \mathrm{Var}\,\varphi &= \frac{4 (B^2 \mathrm{Var}\,v + v^2 \mathrm{Var}\,B)}{(B + v)^4} \\
   \mathrm{Var}\,B &= \frac{4 \mu' \Sigma \mu}{N} + \frac{2\,\mathrm{tr}\,\Sigma^2}{N^2}, \qquad
   \mathrm{Var}\,v = \frac{2\,\mathrm{tr}\,\Sigma^2}{N^2} \times
   \begin{cases} 1 / (N - 1) & \text{all pairs} \\ 1 & \text{one split} \end{cases}
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .gram import all_pairs, half_split


@dataclass(frozen=True)
class Spread:
    """Standard deviations of phi at N sample gradients.

    Args:
        samples: N.
        phi: parts averaged over all groups, then divided.
        all_pairs: observed, over draws of N.
        half_split: observed, over draws of N.
        theory_all_pairs: predicted from the first two moments of the gradient.
        theory_half_split: likewise.
    """

    samples: int
    phi: float
    all_pairs: float
    half_split: float
    theory_all_pairs: float
    theory_half_split: float

    @property
    def gain(self) -> float:
        """How many times wider one split spreads."""
        return self.half_split / self.all_pairs

    @property
    def theory_gain(self) -> float:
        """The same, predicted."""
        return self.theory_half_split / self.theory_all_pairs


@dataclass(frozen=True)
class NoiseMoments:
    """Of one module's sample gradient: |mu|^2, tr Sigma, tr Sigma^2 and mu' Sigma mu."""

    signal: float
    trace: float
    trace_square: float
    along_mean: float


def noise_moments(gram: Tensor) -> NoiseMoments:
    """Estimated from K sample gradients; errors of order 1 / K.

    Args:
        gram: (K, K).
    """
    count = len(gram)
    off = ~torch.eye(count, dtype=torch.bool)
    signal = gram[off].mean()
    trace = gram.diagonal().mean() - signal
    centred = gram - gram.mean(0, keepdim=True) - gram.mean(1, keepdim=True) + gram.mean()
    trace_square = centred[off].var()
    # Products with the mean of the others vary by mu' Sigma mu and by that mean's own noise.
    others = (gram.sum(1) - gram.diagonal()) / (count - 1)
    along = (others.var() - trace_square / (count - 1)).clamp(min=0)
    return NoiseMoments(*(float(x) for x in (signal, trace, trace_square, along)))


def theory(moments: NoiseMoments, samples: int) -> tuple[float, float]:
    """Predicted spread of phi for all pairs and for one split; the equations of this file."""
    v = moments.trace / samples
    b = moments.signal + v
    var_b = 4 * moments.along_mean / samples + 2 * moments.trace_square / samples**2
    var_split = 2 * moments.trace_square / samples**2

    def spread(var_v: float) -> float:
        return 2 * math.sqrt(b**2 * var_v + v**2 * var_b) / (b + v) ** 2

    return spread(var_split / (samples - 1)), spread(var_split)


def measure(gram: Tensor, samples: int, draws: int, generator: torch.Generator) -> Spread:
    """Observed and predicted spread of one module.

    Each draw cuts all K gradients into disjoint groups of N; their variance is unbiased for
    independent groups, and averaged over the draws.

    Args:
        gram: (K, K).
        samples: N, at most K / 2.
        draws: how often to cut anew.
        generator: of the draws.
    """
    groups = len(gram) // samples
    if groups < 2:
        raise ValueError(
            f'{len(gram)} sample gradients are too few for the spread at N={samples}: at least '
            f'{2 * samples} are needed (--samples).'
        )
    variances, parts = [], []
    for _ in range(draws):
        order = torch.randperm(len(gram), generator=generator)[: groups * samples]
        cut = order.view(groups, samples)
        pairs, split = all_pairs(gram, cut), half_split(gram, cut)
        variances.append(torch.stack([pairs.phi.var(), split.phi.var()]))
        parts.append(torch.stack([pairs.numerator.sum(), pairs.denominator.sum()]))
    observed = torch.stack(variances).mean(0).sqrt()
    numerator, denominator = torch.stack(parts).sum(0)
    predicted = theory(noise_moments(gram), samples)
    phi = float(numerator / denominator)
    return Spread(samples, phi, float(observed[0]), float(observed[1]), *predicted)
