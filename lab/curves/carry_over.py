"""Should AGVM's averages be carried over where a curriculum changes the size of the images?

A run that measures and does not modulate (``apply=False``) leaves a stream of estimates that does
not depend on the answer. Both policies are replayed on it, and their scales soon after a change
are compared with those of later estimates of the same stage, which neither policy has used: an
average of the compared estimates themselves would favour starting anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from agvm_mm.statistics import ScaleConfig, VarianceEstimate, init_scales, update_scales
from agvm_mm.statistics.scales import target_scales


def replay(
    estimates: Sequence[VarianceEstimate],
    changes: Sequence[int],
    config: ScaleConfig,
    restart: bool,
) -> torch.Tensor:
    """Scales after every estimate, shape (estimates, modules).

    Args:
        estimates: in order.
        changes: indices of the estimates that begin a stage.
        config: how estimates become scales.
        restart: forget everything at the changes.
    """
    state = init_scales(len(estimates[0].numerator))
    scales = []
    for index, estimate in enumerate(estimates):
        if restart and index in changes:
            state = init_scales(len(estimate.numerator))
        state = update_scales(state, estimate, config)
        scales.append(state.scales)
    return torch.stack(scales)


def settled(
    estimates: Sequence[VarianceEstimate], begin: int, end: int, config: ScaleConfig
) -> torch.Tensor:
    """Scales of the stage from all its estimates in [begin, end) together, shape (modules,)."""
    window = [e for e in estimates[begin:end] if e.finite and bool(e.valid.all())]
    phi = sum(e.numerator / e.denominator.sum() for e in window) / sum(
        e.denominator / e.denominator.sum() for e in window
    )
    return target_scales(torch.as_tensor(phi), config)


def errors(
    estimates: Sequence[VarianceEstimate],
    changes: Sequence[int],
    config: ScaleConfig,
    horizon: int = 50,
) -> list[dict[str, float]]:
    """For each change of stage, the mean |log(scale / settled scale)| of either policy.

    Args:
        estimates: in order.
        changes: indices of the estimates that begin a stage, ascending.
        config: how estimates become scales.
        horizon: estimates after the change over which errors are averaged; the settled scales
            are those of up to twice as many after them. Stages that end before are left out.
    """
    policies = {'carry': False, 'restart': True}
    paths = {name: replay(estimates, changes, config, flag) for name, flag in policies.items()}
    found = []
    for begin, stop in zip(changes, [*changes[1:], len(estimates)]):
        if stop <= begin + horizon:
            continue
        target = settled(estimates, begin + horizon, min(stop, begin + 3 * horizon), config)
        row: dict[str, float] = {'estimate': begin}
        for name, path in paths.items():
            difference = (path[begin : begin + horizon] / target).log().abs()
            row[name] = float(difference.mean())
        found.append(row)
    return found
