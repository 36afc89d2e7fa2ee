"""How the numbers of a recipe change with the batch: equations alone, without a config.

A recipe is written for updates of b images and is trained with updates of B images; k = B / b. The
length of a training in images stays, so that it has k times fewer updates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

KNEE = 128
MARGIN = 100
WIDE_BATCH = 1024

GOYAL = 'Goyal et al. 2017, arXiv:1706.02677'
KRIZHEVSKY = 'Krizhevsky 2014, arXiv:1404.5997'
MALLADI = 'Malladi et al. 2022, arXiv:2205.10287'
BUSBRIDGE = 'Busbridge et al. 2023, arXiv:2307.13813'
XUE = 'Xue et al. 2022, arXiv:2210.11078, released recipes'


class Adam(NamedTuple):
    """Hyperparameters of Adam beside the learning rate."""

    betas: tuple[float, float]
    eps: float


def linear(base: int, batch: int) -> float:
    """Multiplier of the learning rate: k.

    The step of one large update is the sum of the k small ones that it replaces, as long as the
    gradient changes little over them. Source: Goyal et al. 2017.
    """
    return batch / base


def square_root(base: int, batch: int) -> float:
    """Multiplier of the learning rate: sqrt(k).

    The noise of an update has the same variance for every batch. Source: Krizhevsky 2014; for Adam,
    Malladi et al. 2022 (see :func:`adam_sde`).
    """
    return math.sqrt(batch / base)


def linear_then_sqrt(base: int, batch: int, knee: int = KNEE) -> float:
    """Multiplier of the learning rate: f(B) / f(b).

    ``f(x) = x`` up to the batch ``knee``, and ``sqrt(knee x)`` above. The rule of AGVM's released
    recipes, with knee 128 (Xue et al. 2022).
    """

    def rate(images: int) -> float:
        return images if images <= knee else math.sqrt(knee * images)

    return rate(batch) / rate(base)


def adam_sde(ratio: float, adam: Adam) -> Adam:
    """The other hyperparameters of Adam for a learning rate times sqrt(k).

    ``1 - beta' = k (1 - beta)``, ``eps' = eps / sqrt(k)``: the discretisation of one stochastic
    differential equation in other steps. Source: Malladi et al. 2022, Adam's square-root scaling
    rule.

    Args:
        ratio: k.
        adam: betas in [0, 1) and eps of the base batch.

    Raises:
        ValueError: k (1 - beta) is 1 or more, for which there is no beta.
    """
    for beta in adam.betas:
        if ratio * (1 - beta) >= 1:
            raise ValueError(
                f'beta={beta:g} has no counterpart at {ratio:g} times the batch: the rule needs '
                f'a batch below {1 / (1 - beta):g} times the base batch.'
            )
    first, second = (1 - ratio * (1 - beta) for beta in adam.betas)
    return Adam((first, second), adam.eps / math.sqrt(ratio))


def weight_of_past(rho: float, ratio: float) -> float:
    """Momentum of ``average = rho average + (1 - rho) weights``: ``rho ** k``.

    The past then weighs as much after an update as after the k updates that it replaces. Source:
    Busbridge et al. 2023, the EMA scaling rule.
    """
    return math.pow(rho, ratio)


def weight_of_new(rho: float, ratio: float) -> float:
    """Momentum of ``average = (1 - rho) average + rho weights``: ``1 - (1 - rho) ** k``.

    :func:`weight_of_past` for the averagers of MMEngine and MMDetection, whose momentum is the
    weight of the new value.
    """
    return -math.expm1(ratio * math.log1p(-rho))


def factor_of_decay(gamma: float, ratio: float) -> float:
    """Factor by which a rate falls at every update: ``gamma ** k`` for k times fewer updates."""
    return math.pow(gamma, ratio)


def length(updates: float, ratio: float) -> int:
    """Updates in which the same images pass: updates / k, rounded, at least 1; 0 stays 0."""
    return max(1, math.floor(updates / ratio + 0.5)) if updates > 0 else 0


def spans(begin: int, lengths: Sequence[int], ratio: float) -> list[int]:
    """Lengths that are counted from ``begin``, at least 1, so that the ends meet as before."""
    return [max(1, length(begin + one, ratio) - length(begin, ratio)) for one in lengths]


def near_warmup(update: int, warmup: int, new_warmup: int, ratio: float) -> int:
    """An update that is tied to the end of the warm-up, as the window of clipping is.

    The distance d in updates stays, as in the released recipes (Xue et al. 2022), up to a quarter
    of the new warm-up: half an epoch where the warm-up takes two. It is never less than d / k.

    Args:
        update: of the base batch.
        warmup: updates of warm-up at the base batch, 0 for none.
        new_warmup: updates of warm-up at the new batch.
        ratio: k.
    """
    if update == 0 or warmup == 0:
        return length(update, ratio)
    distance = abs(update - warmup)
    kept = min(distance, max(math.floor(distance / ratio + 0.5), new_warmup // 4))
    return max(0, new_warmup + (kept if update > warmup else -kept))


def margin_after_warmup(warmup: int) -> int:
    """Updates between warm-up and AGVM's begin: min(100, warm-up / 4).

    A quarter of the warm-up is half an epoch where the warm-up takes two (Xue et al. 2022: 100).
    """
    return min(MARGIN, warmup // 4)


def interval_of_estimates(batch: int) -> int:
    """AGVM's interval in updates: 10, and 5 above batch 1024, where a run has few updates."""
    return 5 if batch > WIDE_BATCH else 10
