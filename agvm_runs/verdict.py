r"""Is the batch too large for a module? Its phi against McCandlish's law, in one sentence.

A batch of b images needs :math:`S_\mathrm{min} (1 + B_\mathrm{simple} / b)` updates. Doubling it
saves this share of them:

.. math:: s = \frac{B_\mathrm{simple}}{2 (b + B_\mathrm{simple})} = \frac{\varphi}{2 (2 - \varphi)},
          \qquad \frac{b}{B_\mathrm{simple}} = 2 \left(\frac{1}{\varphi} - 1\right)

which is at most one half. The law has three zones. Their limits here are 40 % and 10 %, that is, a
quarter of the noise scale and four times it:

* perfect scaling: a batch twice as large needs almost half of the updates;
* sweet spot: it still saves updates, and costs images;
* diminishing returns: it costs almost twice the images for the same result.

The law knows the noise of the gradient alone. Where curvature limits the learning rate, a larger
batch saves less than this.

Source: McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, equations
2.7 and 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PERFECT, SWEET, DIMINISHING = 'perfect scaling', 'sweet spot', 'diminishing returns'
MUCH, LITTLE = 0.4, 0.1  # shares of the updates at which the zones end
CAVEAT = (
    'These sentences follow from the noise of the gradients alone: where curvature limits the '
    'learning rate, as in runs of few updates, a larger batch saves less.'
)


@dataclass(frozen=True)
class Phi:
    """Normalised variance of a module with its 95 % interval."""

    module: str
    value: float
    low: float
    high: float

    @property
    def saved(self) -> tuple[float, float, float]:
        """Share of the updates that a doubled batch saves: estimate and interval."""
        low, value, high = (_saved(phi) for phi in (self.low, self.value, self.high))
        return value, low, high

    @property
    def zones(self) -> list[str]:
        """The zones that the interval reaches, from the largest gain on."""
        _, low, high = self.saved
        reached = {
            PERFECT: high >= MUCH,
            SWEET: high > LITTLE and low < MUCH,
            DIMINISHING: low <= LITTLE,
        }
        return [zone for zone, inside in reached.items() if inside]


def sentences(batch: float, modules: Sequence[Phi]) -> list[str]:
    """One sentence a module, one for the model, and what they leave out.

    Args:
        batch: images of an update.
        modules: those that were measured, NaN left out; none gives no sentence.
    """
    if not modules:
        return []
    return [*(_of_module(batch, phi) for phi in modules), _of_model(batch, modules), CAVEAT]


def _of_module(batch: float, phi: Phi) -> str:
    least, middle, most = (_times(end) for end in (phi.high, phi.value, phi.low))
    if phi.high >= 1:  # no end of the noise scale was seen
        size = f'at most {_number(most)} times'
    else:
        size = f'{_number(middle)} ({_number(least)} to {_number(most)}) times'
    where = f'{phi.module}: batch {batch:g} is {size} the noise scale'
    if len(phi.zones) == 3:
        return f'{where}: the estimates are too few to say more.'
    zones = ' or '.join(phi.zones)
    return f'{where}, {zones}: doubling it saves {_share(phi)} of the updates.'


def _of_model(batch: float, modules: Sequence[Phi]) -> str:
    noisiest = max(modules, key=lambda phi: phi.high)
    return (
        f'The model: doubling batch {batch:g} saves at most {noisiest.saved[2]:.0%} of the '
        f'updates, the share of its noisiest module, {noisiest.module}.'
    )


def _share(phi: Phi) -> str:
    _, low, high = phi.saved
    if phi.zones == [DIMINISHING]:
        return f'at most {high:.0%}'
    if phi.zones == [PERFECT]:
        return f'at least {low:.0%}'
    return f'{low:.0%} to {high:.0%}'


def _saved(phi: float) -> float:
    bounded = min(phi, 1.0)
    return bounded / (2 * (2 - bounded))


def _times(phi: float) -> float:
    """The batch in noise scales."""
    return math.inf if phi <= 0 else 2 * max(1 / phi - 1, 0.0)


def _number(value: float) -> str:
    return f'{value:.3g}' if value < 1000 else f'{value:.0f}'
