r"""From normalised variances to the learning-rate scale of every module.

.. math:: \mu_i = \sqrt{\mathrm{clamp}\left(
          \frac{\varphi_\mathrm{anchor} + \epsilon}{\varphi_i + \epsilon}, c_0, c_1\right)}

Two orders of averaging over the estimation steps:

* ``'scale'`` averages the scale itself, from 1, as the authors' code does;
* ``'moments'`` averages numerators and denominators of :math:`\varphi` and divides last, which
  has no slow start and no bias from the ratio or the root. Gradients shrink by orders of magnitude
  in training, so both are first divided by the module's denominator of the estimate before:
  every estimate then counts about the same, and a burst of huge gradients is soon forgotten.

Source: Xue et al., NeurIPS 2022, section 3.2; clamp and epsilon from the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from agvm_runs.intervals import phi_ends

from .estimate import VarianceEstimate
from .precision import effective_estimates

# An estimate whose gradients have suddenly grown counts at most this many times as much as others.
LARGEST_WEIGHT = 4.0


@dataclass(frozen=True)
class ScaleConfig:
    """How estimates become scales.

    Args:
        anchor: index of the module whose scale is 1.
        average: 'moments' or 'scale'.
        momentum: weight of the past in the moving average, in [0, 1).
        clamp: bounds on the ratio of normalised variances, before the square root.
        eps: added to both normalised variances.
    """

    anchor: int = 0
    average: str = 'moments'
    momentum: float = 0.97
    clamp: tuple[float, float] = (0.5, 10.0)
    eps: float = 1e-6


COLUMNS = (
    'scale',
    'numerator',
    'denominator',
    'unit',
    'estimates',
    'numerator_square',
    'product',
    'denominator_square',
    'noise',
    'signal',
)
"""Keys of a module in a checkpoint, in the order of :class:`ScaleState`."""


@dataclass(frozen=True)
class ScaleState:
    """Everything the scales remember between estimation steps; tensors (M,), float64, on CPU.

    Args:
        scales: the learning-rate scales.
        numerator: moving average of the numerators of phi in this unit, from 0.
        denominator: moving average of the denominators of phi in this unit, from 0.
        unit: denominator of each module's last estimate, by which moments are divided.
        estimates: how many estimates of each module entered.
        numerator_square: sum of squared weights times squared numerators.
        product: sum of squared weights times the product of both.
        denominator_square: sum of squared weights times squared denominators.
        noise: moving average of an image's noise, over the estimates that know their images.
        signal: moving average of the signal over the same estimates.
    """

    scales: Tensor
    numerator: Tensor
    denominator: Tensor
    unit: Tensor
    estimates: Tensor
    numerator_square: Tensor
    product: Tensor
    denominator_square: Tensor
    noise: Tensor
    signal: Tensor

    @property
    def phi(self) -> Tensor:
        """Averaged normalised variance, parts averaged first; NaN before the first estimate.

        Both averages start at 0 with the same weights, so the start-up bias cancels.
        """
        return torch.where(self.estimates > 0, self.numerator / self.denominator, torch.nan)

    @property
    def noise_scale(self) -> Tensor:
        r"""Simple noise scale in images, :math:`v / |E g|^2` of the averages, (M,).

        Every estimate enters with its own number of images. Infinite where no signal is seen, which
        at one number of images is where :attr:`phi` is 1 or more; NaN where nothing was measured
        or the model does not tell its images.
        """
        unknown = (self.noise == 0) & (self.signal == 0)
        scale = torch.where(self.signal > 0, self.noise / self.signal, torch.inf)
        return torch.where(unknown, torch.nan, scale)

    def phi_error(self, momentum: float) -> Tensor:
        """Standard error of :attr:`phi`; NaN before the second estimate.

        The equation is that of :mod:`.precision`, with the residuals multiplied out.

        Args:
            momentum: of the averages.
        """
        phi = self.phi
        spread = self.numerator_square - 2 * phi * self.product
        spread = (spread + phi.square() * self.denominator_square).clamp(min=0)
        count = effective_estimates(self.estimates, momentum)
        error = torch.sqrt(spread * count / (count - 1)) / self.denominator
        return torch.where(self.estimates > 1, error, torch.nan)

    def phi_ends(self, momentum: float) -> tuple[Tensor, Tensor]:
        """The 95 % interval of :attr:`phi`, (M,) each; NaN before the second estimate.

        Args:
            momentum: of the averages.

        Source: :mod:`agvm_runs.intervals`.
        """
        count = effective_estimates(self.estimates, momentum)
        low, high = phi_ends(self.phi.numpy(), self.phi_error(momentum).numpy(), count.numpy())
        return torch.from_numpy(low), torch.from_numpy(high)

    def to_dict(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Plain numbers by module, as a checkpoint keeps them."""
        columns = dict(zip(COLUMNS, (getattr(self, field.name) for field in fields(self))))
        return {
            name: {key: float(column[i]) for key, column in columns.items()}
            for i, name in enumerate(names)
        }

    @staticmethod
    def from_dict(entries: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> ScaleState:
        """Inverse of :meth:`to_dict`.

        Raises:
            ValueError: the saved modules are not those of ``names``.
        """
        if set(entries) != set(names):
            raise ValueError(
                f'the checkpoint holds AGVM scales for {sorted(entries)}, the model has the '
                f'modules {sorted(names)}: set optim_wrapper.agvm.modules as it was when the '
                'checkpoint was written, or delete `optimizer.agvm` from the checkpoint.'
            )
        return ScaleState(
            *(
                torch.tensor([float(entries[name][key]) for name in names], dtype=torch.float64)
                for key in COLUMNS
            )
        )


def init_scales(modules: int) -> ScaleState:
    """The state before any estimate: every scale is 1."""
    zeros = torch.zeros(modules, dtype=torch.float64)
    return ScaleState(torch.ones_like(zeros), *(zeros.clone() for _ in COLUMNS[1:]))


def target_scales(phi: Tensor, config: ScaleConfig) -> Tensor:
    """Scales that equalise the variances ``phi`` of shape (M,); the equation of this file."""
    # Equal gradients give 0, which rounding may leave a little below.
    phi = phi.clamp(min=0.0)
    ratio = (phi[config.anchor] + config.eps) / (phi + config.eps)
    target = torch.sqrt(ratio.clamp(*config.clamp))
    target[config.anchor] = 1.0
    return target


def counted(estimate: VarianceEstimate, config: ScaleConfig) -> Tensor:
    """Shape (M,), bool: the modules whose averages :func:`update_scales` renews."""
    valid = estimate.valid
    if not estimate.finite or not bool(valid[config.anchor]):
        return torch.zeros_like(valid)
    return valid


def update_scales(state: ScaleState, estimate: VarianceEstimate, config: ScaleConfig) -> ScaleState:
    """The state after one estimate.

    A module without gradient keeps its scale and its averages. A non-finite estimate, or one in
    which the anchor has no gradient, changes nothing.

    Args:
        state: the state before, left untouched.
        estimate: one measurement of all modules.
        config: anchor, order and momentum of averaging, clamp.
    """
    valid = counted(estimate, config)
    if not bool(valid.any()):
        return state
    averaged = _average(state, estimate, config.momentum)
    if config.average == 'moments':
        scales = target_scales(averaged.phi, config)
    else:
        scales = config.momentum * state.scales
        scales = scales + (1 - config.momentum) * target_scales(estimate.phi, config)
    return replace(averaged, scales=torch.where(valid, scales, state.scales))


def _average(state: ScaleState, estimate: VarianceEstimate, momentum: float) -> ScaleState:
    """Moving averages of both parts of phi, of the modules that have a gradient.

    The unit is the denominator of the estimate before, which is independent of this one's noise:
    dividing by the present denominator would average the ratio.
    """
    valid = estimate.valid.to(torch.float64)
    present = torch.where(estimate.valid, estimate.denominator, 1.0)
    before = torch.where(state.estimates > 0, state.unit, present)
    unit = torch.maximum(before, present / LARGEST_WEIGHT)
    weight = (1 - momentum) * valid
    numerator, denominator = estimate.numerator / unit, estimate.denominator / unit

    # Where the images are unknown, the noise scale keeps the estimates that knew theirs.
    known = weight if estimate.noise is not None else torch.zeros_like(weight)
    of_image = estimate.numerator if estimate.noise is None else estimate.noise

    def squares(before: Tensor, product: Tensor) -> Tensor:
        return (1 - weight).square() * before + weight.square() * product

    return replace(
        state,
        numerator=(1 - weight) * state.numerator + weight * numerator,
        denominator=(1 - weight) * state.denominator + weight * denominator,
        unit=torch.where(estimate.valid, present, state.unit),
        estimates=state.estimates + valid,
        numerator_square=squares(state.numerator_square, numerator * numerator),
        product=squares(state.product, numerator * denominator),
        denominator_square=squares(state.denominator_square, denominator * denominator),
        noise=(1 - known) * state.noise + known * of_image / unit,
        signal=(1 - known) * state.signal + known * estimate.signal / unit,
    )
