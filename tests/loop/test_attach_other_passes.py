"""Gradients that are taken and not accumulated: attacks, penalties, gradients by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from attach_runs import AGVM, COUNTS, Detector, adam, batch, weights
from torch import Tensor, nn

import agvm_mm

Take = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _attack(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """One step of an attack on the images, in evaluation mode, whose images do not count."""
    model.eval()
    (found,) = torch.autograd.grad(model(images, targets), images)
    model.train()
    return (images + 0.01 * found.sign()).detach()


def _backward_of_inputs(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    model.eval()
    model(images, targets).backward(inputs=[images])
    model.train()
    assert images.grad is not None
    return (images + 0.01 * images.grad.sign()).detach()


def _of_parameters(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Gradients by hand, as of a method that weighs tasks."""
    model.eval()
    found = torch.autograd.grad(model(images, targets), list(model.parameters()))
    model.train()
    return (images + 0.01 * found[0].sum()).detach()


def _run(take: Take, options: dict[str, Any], attached: bool) -> tuple[Tensor, dict[str, Any]]:
    """The weights, and phi by the handle or, without it, from the gradients of the passes."""
    model = Detector()
    optimizer = adam(model)
    handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS, **options) if attached else None
    for update in range(3):
        optimizer.zero_grad()
        for k in range(COUNTS):
            images, targets = batch(0, COUNTS * update + k)
            images = take(model, images.requires_grad_(), targets)
            (model(images, targets) / COUNTS).backward()
        optimizer.step()
    return weights(model), {} if handle is None else handle.state_dict()


@pytest.mark.parametrize('take', [_attack, _backward_of_inputs, _of_parameters])
def test_a_gradient_that_is_not_accumulated_is_no_pass(take: Take) -> None:
    """The second run gets the images of the first ready-made, and takes no other gradient."""
    kept: list[Tensor] = []

    def keep(*args: Any) -> Tensor:
        kept.append(take(*args))
        return kept[-1]

    for options in (dict(agvm=AGVM), dict(agvm=AGVM, kfac=dict(damping=0.1))):
        kept.clear()
        end, state = _run(keep, options, True)
        ready = iter(kept)
        plain, expected = _run(lambda *_: next(ready), options, True)  # noqa: B023
        assert torch.equal(end, plain)
        assert state['agvm'] == expected['agvm'] and state['updates'] == 3


def test_measuring_beside_an_attack_leaves_training_bitwise_plain() -> None:
    measured, state = _run(_attack, dict(agvm=dict(AGVM, apply=False)), True)
    assert torch.equal(measured, _run(_attack, {}, False)[0])
    assert all(module['estimates'] == 2 for module in state['agvm']['modules'].values())


def test_a_penalty_on_the_gradient_belongs_to_the_pass_of_its_loss() -> None:
    """Phi follows from the gradients of loss and penalty together, two passes in an update."""

    def total(model: nn.Module, k: int) -> Tensor:
        images, targets = batch(0, k)
        loss = model(images.requires_grad_(), targets)
        (found,) = torch.autograd.grad(loss, images, create_graph=True)
        return loss + found.square().sum()

    model = Detector()
    passes = []
    for k in range(COUNTS):
        model.zero_grad()
        total(model, k).backward()
        passes.append(torch.cat([p.grad.reshape(-1) for p in model.neck.parameters()]))  # type: ignore[union-attr]
    a = sum(g @ g for g in passes) / COUNTS
    b = (sum(passes) / COUNTS).square().sum()
    phi = 2 * (a - b) / ((COUNTS - 2) * b + a)

    model = Detector()
    optimizer = adam(model)
    handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS)
    for k in range(COUNTS):
        (total(model, k) / COUNTS).backward()
    optimizer.step()
    assert handle.scalars()['agvm/phi/neck'] == pytest.approx(float(phi), rel=1e-12)


def test_a_pass_that_names_its_parameters_counts() -> None:
    ends = []
    for named in (False, True):
        model = Detector()
        optimizer = adam(model)
        handle = agvm_mm.attach(model, optimizer, accumulation=COUNTS, agvm=AGVM)
        for update in range(3):
            optimizer.zero_grad()
            for k in range(COUNTS):
                loss = model(*batch(0, COUNTS * update + k)) / COUNTS
                loss.backward(inputs=list(model.parameters()) if named else None)
            optimizer.step()
        ends.append((handle.state_dict(), weights(model)))
    assert ends[0][0] == ends[1][0] and torch.equal(ends[0][1], ends[1][1])
