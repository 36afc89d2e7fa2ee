"""The log holds no figure that the last estimation step did not renew."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from networks import ReplayNet

import agvm_mm  # noqa: F401
from agvm_mm.parts import AGVMPart

MEASURED = {'phi', 'phi_low', 'phi_high', 'noise_scale'}
SIGNAL = ((3.0, 0.5), (3.0, -0.5))
"""Two gradients of a module with signal and noise."""
NOISE = ((1.0, 0.0), (-1.0, 0.0))


class Sometimes(ReplayNet):
    """The neck is left out where its gradient is NaN."""

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        losses = super().forward(inputs, data_samples, mode)
        if bool(inputs[0][2:].isnan().any()):
            losses.pop('loss_neck')
        return losses


class Loop:
    """Updates of two micro-batches of prescribed gradients of backbone and neck."""

    def __init__(self, name: str, **agvm: Any) -> None:
        MessageHub.get_instance(f'current figures {name} {id(self)}')
        self.model = Sometimes(dict(backbone=2, neck=2), torch.zeros(4, dtype=torch.float64))
        config = dict(
            type='AGVMOptimWrapper',
            optimizer=dict(type='SGD', lr=0.0),
            accumulative_counts=2,
            agvm=dict(dict(interval=1, momentum=0.0), **agvm),
        )
        self.wrapper = build_optim_wrapper(self.model, config)
        self.wrapper.initialize_count_status(self.model, 0, 100)

    def update(self, neck: Any, backbone: Any = SIGNAL) -> None:
        for pair in zip(backbone, neck):
            gradient = torch.tensor([*pair[0], *pair[1]], dtype=torch.float64)
            self.model.train_step(dict(inputs=[gradient]), self.wrapper)

    def shown(self, module: str) -> set[str]:
        """Quantities of ``module`` that a line of the log would have now."""
        names = self.wrapper.message_hub.log_scalars
        prefix, suffix = 'train/agvm/', f'/{module}'
        return {
            name[len(prefix) : -len(suffix)]
            for name in names
            if name.startswith(prefix) and name.endswith(suffix)
        }

    def value(self, name: str) -> float:
        return float(self.wrapper.message_hub.log_scalars[f'train/agvm/{name}'].current())


def test_no_noise_scale_where_there_is_no_signal_and_again_where_there_is():
    loop = Loop('signal')
    loop.update(SIGNAL)
    # S = (2 B - A) = 9 - 0.25 and V = 0.5 for images of one sample gradient each
    assert loop.value('noise_scale/neck') == pytest.approx(0.5 / 8.75)
    loop.update(NOISE)
    assert 'noise_scale' not in loop.shown('neck') and loop.value('phi/neck') == 2.0
    assert 'noise_scale' in loop.shown('backbone')
    loop.update(SIGNAL)
    assert loop.value('noise_scale/neck') == pytest.approx(0.5 / 8.75)


def test_a_module_without_gradient_shows_its_scale_alone():
    loop = Loop('gradient')
    for _ in range(2):
        loop.update(SIGNAL)
    loop.update([(math.nan, math.nan)] * 2)
    assert loop.shown('neck') == {'scale'}
    assert loop.shown('backbone') >= {'phi', 'noise_scale', 'scale'}


@pytest.mark.parametrize(
    'backbone', [[(math.inf, 0.0)] * 2, [(0.0, 0.0)] * 2], ids=['not finite', 'anchor without']
)
def test_an_estimate_that_does_not_count_shows_no_old_one(backbone):
    loop = Loop('skipped')
    loop.update(SIGNAL)
    loop.update(SIGNAL, backbone)
    assert not loop.shown('neck') & MEASURED and not loop.shown('backbone') & MEASURED
    loop.update(SIGNAL)
    assert 'phi' in loop.shown('neck')


def test_between_two_estimation_steps_the_averages_stay():
    loop = Loop('interval', interval=3)
    seen = []
    for _ in range(5):
        loop.update(SIGNAL)
        seen.append('phi' in loop.shown('neck'))
    assert all(seen)


def test_from_the_end_of_the_estimates_on_only_scales_are_shown():
    loop = Loop('end', interval=2, end=3)
    seen = []
    for _ in range(5):
        loop.update(SIGNAL)
        seen.append('phi' in loop.shown('neck'))
    assert seen == [True, True, True, False, False]
    assert loop.shown('neck') == {'scale'}


def test_after_the_end_scales_are_logged_once():
    loop = Loop('once', interval=1, end=2)
    for _ in range(6):
        loop.update(SIGNAL)
    history = loop.wrapper.message_hub.log_scalars['train/agvm/scale/neck'].data[0]
    assert len(history) == 3  # of the updates 0 and 1, and without phi of update 2
    assert loop.shown('neck') == {'scale'}


def test_forgotten_statistics_leave_the_log():
    loop = Loop('restart', interval=2)
    loop.update(SIGNAL)
    loop.wrapper.part(AGVMPart).restart()
    assert not loop.shown('neck') & MEASURED
    loop.update(SIGNAL)
    assert not loop.shown('neck') & MEASURED
    loop.update(SIGNAL)
    assert 'phi' in loop.shown('neck')
