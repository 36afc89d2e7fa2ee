"""Loops of other shapes under ``attach``: closures, loss scaling, failures, counts of passes."""

from __future__ import annotations

import copy
import logging
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from attach_runs import AGVM, COUNTS, Detector, accumulate, adam, batch, by_attach, plain, weights
from compiler import needs_harmless_compiler
from cpu_amp import needs_loss_scaler
from ranks import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import agvm_mm
from agvm_mm.parts import AGVMPart


def attached(model: nn.Module, **options: Any) -> tuple[torch.optim.Optimizer, agvm_mm.Handle]:
    optimizer = adam(model)
    options = {'agvm': AGVM, 'accumulation': COUNTS, **options}
    return optimizer, agvm_mm.attach(model, optimizer, **options)


@pytest.mark.parametrize('by_name', [False, True])
def test_the_last_pass_may_be_in_the_closure_of_the_step(by_name: bool) -> None:
    model = Detector()
    optimizer, handle = attached(model)
    for update in range(3):
        optimizer.zero_grad()
        (model(*batch(0, 2 * update)) / COUNTS).backward()

        def closure(update: int = update) -> torch.Tensor:
            loss = model(*batch(0, 2 * update + 1)) / COUNTS
            loss.backward()
            return loss

        found = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        assert found is not None
    state, end = by_attach(0, 3)
    assert handle.state_dict() == state and torch.equal(weights(model), end)


@needs_loss_scaler
def test_a_scaled_loss_gives_the_same_scales_and_a_skipped_step_is_no_update() -> None:
    model = Detector()
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0**10)
    optimizer, handle = attached(model, scaler=scaler)
    for attempt in (0, 1, 'overflow', 2):
        optimizer.zero_grad()
        for k in range(COUNTS):
            images, targets = batch(0, 2 * (0 if attempt == 'overflow' else attempt) + k)
            if attempt == 'overflow':
                images[0, 0, 0, 0] = torch.inf
            scaler.scale(model(images, targets) / COUNTS).backward()
        scaler.step(optimizer)
        scaler.update()
    state, end = by_attach(0, 3)
    assert handle.updates == 3 and handle.state_dict()['agvm']['skipped'] == 1
    for name, module in handle.state_dict()['agvm']['modules'].items():
        assert module == pytest.approx(state['agvm']['modules'][name], rel=1e-12)
    torch.testing.assert_close(weights(model), end, rtol=1e-12, atol=1e-15)


@needs_loss_scaler
@pytest.mark.parametrize('fused', [False, True])
def test_clipping_acts_on_scaled_gradients_only_where_the_optimizer_unscales(fused: bool) -> None:
    ends = []
    for scale in (1.0, 2.0**10):
        model = Detector().float()
        try:
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
        except RuntimeError as error:
            pytest.skip(str(error))
        scaler = torch.amp.GradScaler('cpu', init_scale=scale)
        agvm_mm.attach(model, optimizer, scaler=scaler, agvm=None, clip=dict(clip_factor=0.1))
        for step in range(3):
            optimizer.zero_grad()
            images, targets = batch(0, step)
            scaler.scale(model(images.float(), targets.float())).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(weights(model))
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(ends[0], weights(Detector().float()), atol=1e-3)


def test_more_passes_than_announced_are_refused() -> None:
    model = Detector()
    attached(model)
    with pytest.raises(RuntimeError, match='follows the 2 passes of an update without a step of'):
        accumulate(model, 0, 0, 3)


@pytest.mark.parametrize('reentrant', [False, True])
@pytest.mark.parametrize('layers', [('neck',), ('bbox_head',), ('backbone', 'bbox_head')])
def test_activation_checkpointing_is_no_pass_of_its_own(
    layers: tuple[str, ...], reentrant: bool
) -> None:
    model = Detector()
    optimizer, handle = attached(model)
    for name in layers:
        layer = getattr(model, name)
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=reentrant)
    for update in range(3):
        optimizer.zero_grad()
        for k in range(COUNTS):
            images, targets = batch(0, update * COUNTS + k)
            # Without an input that needs a gradient, re-entrant checkpointing gives none.
            (model(images.requires_grad_(), targets) / COUNTS).backward()
        optimizer.step()
    state, end = by_attach(0, 3)
    for name, module in handle.state_dict()['agvm']['modules'].items():
        assert module == pytest.approx(state['agvm']['modules'][name], rel=1e-12)
    torch.testing.assert_close(weights(model), end, rtol=1e-12, atol=1e-15)


@needs_harmless_compiler
@pytest.mark.parametrize('in_place', [False, True])
def test_a_compiled_model_is_measured(in_place: bool) -> None:
    model = Detector()
    if in_place:
        model.compile(backend='aot_eager')
        compiled: Any = model
    else:
        compiled = torch.compile(model, backend='aot_eager')
    optimizer, handle = attached(compiled)
    for _ in plain(compiled, optimizer, 0, range(3)):
        pass
    state, _ = by_attach(0, 3)
    for name, module in handle.state_dict()['agvm']['modules'].items():
        assert module == pytest.approx(state['agvm']['modules'][name], rel=1e-9)


def test_fewer_passes_are_not_measured_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = Detector()
    optimizer, handle = attached(model, agvm=dict(interval=1))
    with caplog.at_level(logging.WARNING, 'agvm_mm'):
        for update, counts in enumerate((2, 1, 1, 2)):
            optimizer.zero_grad()
            accumulate(model, 0, update, counts)
            optimizer.step()
    assert handle.state_dict()['agvm']['modules']['neck']['estimates'] == 2
    (text,) = [record.getMessage() for record in caplog.records]
    assert text.startswith('update 1 had 1 backward pass and accumulation is 2')


def test_a_loop_as_announced_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, 'agvm_mm'):
        by_attach(0, 3)
    assert caplog.records == []


class _Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> None:
        raise RuntimeError('out of memory')


def in_parts(model: Detector, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    found = model.bbox_head(torch.tanh(model.neck(model.backbone(images))))
    return nn.functional.mse_loss(found, targets)


@pytest.mark.parametrize('call', [Detector.__call__, in_parts])
def test_a_backward_pass_that_failed_is_not_counted(call: Any) -> None:
    model = Detector()
    optimizer, handle = attached(model)
    forward = model.backbone.forward
    model.backbone.forward = lambda x: _Failing.apply(forward(x))
    with pytest.raises(RuntimeError, match='out of memory'):
        call(model, *batch(0, 0)).backward()
    model.backbone.forward = forward
    for update in range(3):
        optimizer.zero_grad()
        for k in range(COUNTS):
            (call(model, *batch(0, update * COUNTS + k)) / COUNTS).backward()
        optimizer.step()
    state, end = by_attach(0, 3)
    assert torch.equal(weights(model), end)
    for name, module in handle.state_dict()['agvm']['modules'].items():
        assert module['numerator'] == state['agvm']['modules'][name]['numerator']


def test_gradients_that_were_not_cleared_are_refused() -> None:
    model = Detector()
    optimizer, _ = attached(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with pytest.raises(RuntimeError, match='set accumulation to the number of backward passes of'):
        accumulate(model, 0, 0)


def test_gradients_may_be_cleared_between_forward_and_backward() -> None:
    model = Detector()
    optimizer, handle = attached(model)
    for update in range(3):
        losses = [model(*batch(0, 2 * update + k)) / COUNTS for k in range(COUNTS)]
        optimizer.zero_grad()
        for loss in losses:
            loss.backward()
        optimizer.step()
    expected = by_attach(0, 3)[0]['agvm']['modules']
    for name, module in handle.state_dict()['agvm']['modules'].items():
        phi = module['numerator'] / module['denominator']
        assert phi == expected[name]['numerator'] / expected[name]['denominator']


def test_groups_come_back_before_the_next_step_after_one_that_failed() -> None:
    model = Detector()
    optimizer, handle = attached(model)
    for _ in plain(model, optimizer, 0, range(3)):
        pass
    groups = optimizer.param_groups
    failing = optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    failing.remove()
    rates = []
    optimizer.register_step_pre_hook(
        lambda *_: rates.extend(group['lr'] for group in optimizer.param_groups)
    )
    optimizer.step()
    assert optimizer.param_groups is groups and groups[0]['lr'] == 0.01
    assert handle.updates == 4
    part = handle.part(AGVMPart)
    assert part is not None and part.scales(3)[1] != 1
    assert rates == [0.01 * scale for scale in part.scales(3)], 'scaled twice'


def test_a_copy_of_the_model_holds_nothing_of_the_run() -> None:
    model = Detector()
    kfac = dict(statistics_interval=1, inverse_interval=1)
    optimizer, handle = attached(model, kfac=kfac)
    other = copy.deepcopy(model)
    other(*batch(0, 7)).backward()
    for _ in plain(model, optimizer, 0, range(3)):
        other = copy.deepcopy(model)
        other(*batch(0, 7)).backward()
    assert handle.state_dict()['agvm'] == by_attach(0, 3, kfac=kfac)[0]['agvm']


def _with_options(rank: int, options: dict[str, Any]) -> Any:
    bare = Detector()
    model = DistributedDataParallel(bare, **options)
    optimizer, handle = attached(model, accumulation=1, agvm=dict(AGVM, interval=1))
    for update in range(3):
        optimizer.zero_grad()
        model(*batch(rank, update)).backward()
        optimizer.step()
    return handle.state_dict(), weights(bare)


@pytest.mark.parametrize(
    'options',
    [
        dict(static_graph=True),
        dict(find_unused_parameters=True),
        dict(gradient_as_bucket_view=True, bucket_cap_mb=0.001),
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_data_parallel_wrapper_change_nothing(options: dict[str, Any]) -> None:
    usual, optioned = (run_ranks(_with_options, 2, kind)[0] for kind in ({}, options))
    assert usual[0] == optioned[0] and torch.equal(usual[1], optioned[1])


@pytest.mark.parametrize('estimator', ['all_pairs', 'half_split'])
def test_a_model_may_be_called_in_parts(estimator: str) -> None:
    agvm = dict(AGVM, estimator=estimator)
    model = Detector()
    optimizer, handle = attached(model, agvm=agvm)
    for update in range(3):
        optimizer.zero_grad()
        for k in range(COUNTS):
            (in_parts(model, *batch(0, update * COUNTS + k)) / COUNTS).backward()
        optimizer.step()
    state, end = by_attach(0, 3, agvm=agvm)
    assert torch.equal(weights(model), end)
    for name, module in handle.state_dict()['agvm']['modules'].items():
        expected = state['agvm']['modules'][name]
        assert module['numerator'] == expected['numerator']
        assert module['noise'] == 0 != expected['noise']  # nobody saw the images


class _Named(Detector):
    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> Any:
        return SimpleNamespace(loss=super().forward(images, targets))


def test_k_fac_sees_the_last_layer_whatever_the_model_returns() -> None:
    kfac = dict(statistics_interval=1, inverse_interval=1, damping=0.1)
    model = _Named()
    optimizer, handle = attached(model, agvm=None, kfac=kfac)
    for update in range(2):
        optimizer.zero_grad()
        for k in range(COUNTS):
            (model(*batch(0, update * COUNTS + k)).loss / COUNTS).backward()
        optimizer.step()
    assert torch.equal(weights(model), by_attach(0, 2, agvm=None, kfac=kfac)[1])


class _Lists(nn.Module):
    """Takes what detectors take; the loss needs nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.head(self.backbone(torch.ones(1, 1))).sum()


IMAGE, BATCH = torch.zeros(3, 4, 4), torch.zeros(5, 3, 4, 4)


@pytest.mark.parametrize(
    ('args', 'kwargs', 'images'),
    [
        ((BATCH,), {}, 5),
        (([IMAGE] * 3, [dict(boxes=torch.zeros(9, 4))] * 3), {}, 3),  # torchvision
        (([dict(image=IMAGE)] * 4,), {}, 4),  # Detectron2
        (((BATCH, [dict()] * 5), 17), {}, 5),  # Lightning's training_step
        ((), dict(pixel_values=BATCH, labels=[dict()] * 5), 5),  # transformers
        ((dict(im_file=('a', 'b'), img=BATCH[:2]),), {}, 2),  # Ultralytics
        ((torch.zeros(7), 3, 'text', None), {}, 0),
    ],
)
def test_images_are_counted_in_the_arguments(args: Any, kwargs: Any, images: int) -> None:
    model = _Lists()
    optimizer, handle = attached(model)
    for _ in range(COUNTS):
        (model(*args, **kwargs) / COUNTS).backward()
    optimizer.step()
    part = handle.part(AGVMPart)
    assert part is not None and part.images == COUNTS * images


class _Nested(_Lists):
    """Calls itself, as a LightningModule in DDP does; may fail on the way."""

    def forward(self, images: torch.Tensor, step: int | None = None, fails: bool = False) -> Any:
        if fails:
            raise RuntimeError('out of memory')
        return super().forward() if step is None else self(images)


def test_images_of_a_call_within_a_call_count_once() -> None:
    model = _Nested()
    optimizer, handle = attached(model)
    for k in range(COUNTS):
        with pytest.raises(RuntimeError, match='out of memory'), torch.no_grad():
            model(BATCH, k, fails=True)
        (model(BATCH, k) / COUNTS).backward()
    optimizer.step()
    part = handle.part(AGVMPart)
    assert part is not None and part.images == COUNTS * len(BATCH)


def test_k_fac_without_images_is_refused() -> None:
    model = _Lists()
    attached(model, agvm=None, kfac={})
    with pytest.raises(RuntimeError, match='K-FAC needs the number of images of a batch'):
        model().backward()
