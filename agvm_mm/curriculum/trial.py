"""Whether a network can be trained on the smallest images of a curriculum."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.runner import Runner

from ..hooks.undo import NoStep, RandomState, undone
from ..loop.binding import unwrapped
from .preprocessor import LowFrequencyMixin
from .settings import WHERE


def try_ratio(
    runner: Runner, preprocessors: Sequence[LowFrequencyMixin], ratio: float, batch: Any
) -> None:
    """A pass over ``batch`` at ``ratio``, without gradients and without a trace.

    A network whose layers have a fixed size, such as SSD300's or BEiT's, fails at another one.

    Raises:
        ValueError: it fails, and does not at full size.
    """
    try:
        _pass(runner, preprocessors, ratio, batch)
    except Exception as error:  # whatever a layer raises
        _pass(runner, preprocessors, 1.0, batch)  # what fails here too is not the curriculum's
        name = type(unwrapped(runner.model)).__name__
        reason = ' '.join(str(error).split()).rstrip('.')
        raise ValueError(
            f'{WHERE}.stages has the ratio {ratio:.3g}, at which {name} cannot train '
            f'({type(error).__name__}: {reason}); allowed are ratios at which it can.'
        ) from error


def _pass(
    runner: Runner, preprocessors: Sequence[LowFrequencyMixin], ratio: float, batch: Any
) -> None:
    network: Any = unwrapped(runner.model)
    random = RandomState.now(next(network.parameters()).device)
    with torch.no_grad(), undone(network):
        for preprocessor in preprocessors:
            preprocessor.ratio = ratio
        # Data preprocessors move boxes in place.
        network.train_step(copy.deepcopy(batch), NoStep(runner.optim_wrapper, runner.model))
    random.restore()
