"""Why some optimizers of pytorch_optimizer are not registered; each fails the common suite.

When one of these tests fails, the library has mended the fault and the optimizer can come in.
"""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from suite_cases import gradient, parameters, set_gradients, train
from torch import nn

from agvm_mm.parts.learning_rates import LearningRatePlan

library = pytest.importorskip('pytorch_optimizer')

WRITING: dict[str, Any] = {
    'NorMuon': lambda p: library.NorMuon([dict(params=p, use_muon=True)]),
    'Muon': lambda p: library.Muon([dict(params=p, use_muon=True)]),
    'Shampoo': lambda p: library.Shampoo(p, momentum=0.9),
    'ScheduleFreeSGD': lambda p: library.ScheduleFreeSGD(p, weight_decay=0.1),
    'ScheduleFreeAdamW': lambda p: library.ScheduleFreeAdamW(p, weight_decay=0.1),
}


@pytest.mark.parametrize('name', WRITING)
def test_it_writes_into_the_gradient(name: str) -> None:
    params = parameters()[:3]
    optimizer = WRITING[name](params)
    train(optimizer, params, range(2))
    assert not torch.equal(params[0].grad, gradient(params[0], 0, 1))


@pytest.mark.parametrize('name', ['NorMuon', 'Muon'])
def test_it_works_in_bfloat16_on_every_device(name: str) -> None:
    """A step in float64 moves the weight by numbers of eight bits."""
    weight = nn.Parameter(torch.zeros(6, 5, dtype=torch.float64))
    kind, options = getattr(library, name), dict(lr=1.0, nesterov=False)
    optimizer = kind([dict(params=[weight], use_muon=True)], **options)
    weight.grad = gradient(weight, 0, 0)
    exact = torch.linalg.svdvals(weight.grad)
    exact = exact / exact.norm()
    for _ in range(5):
        exact = 3.4445 * exact - 4.7750 * exact**3 + 2.0315 * exact**5
    optimizer.step()
    error = (torch.linalg.svdvals(weight.detach()) - exact.sort(descending=True)[0]).abs().max()
    assert error > 1e-4


def test_shampoo_of_a_rank_one_gradient_is_not_finite() -> None:
    weight = nn.Parameter(torch.ones(8, 5))
    optimizer = library.Shampoo([weight])
    for step in range(5):
        weight.grad = torch.outer(torch.arange(1.0, 9), torch.linspace(-1, 1, 5)) * (-1) ** step
        optimizer.step()
    assert not weight.isfinite().all()


def test_scalable_shampoo_has_objects_in_its_checkpoint() -> None:
    params = parameters()[:3]
    optimizer = library.ScalableShampoo(params)
    train(optimizer, params)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    with pytest.raises(Exception, match='Unsupported (global|class)'):
        torch.load(buffer, weights_only=True)


@pytest.mark.parametrize('name', ['ScheduleFreeSGD', 'ScheduleFreeAdamW'])
def test_schedule_free_averages_by_the_rate_of_a_group(name: str) -> None:
    """The scales of AGVM would give the modules of one group different averages."""
    params = parameters()[:2]
    optimizer = getattr(library, name)(params)
    plan = LearningRatePlan(optimizer, {id(p): module for module, p in enumerate(params)})
    set_gradients(params, 0)
    sentence = 'changed it differently for two modules of one group'
    with pytest.raises(RuntimeError, match=sentence), plan.scaled([1.0, 3.0]):
        optimizer.step()
