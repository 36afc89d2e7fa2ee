"""Muon against torch's own, flattened convolutions, separate convolutions and the other rule."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from tool_modules import load_tool
from torch import Tensor, nn

import agvm_mm  # noqa: F401
from agvm_mm.optimizers import MuonOptimizer
from agvm_mm.optimizers.parameterwise import is_parameterwise

MATRICES = [(6, 9), (9, 6), (6, 9), (5, 5), (1, 4), (4, 1), (3, 30)]


def muon(params: Any, **options: Any) -> MuonOptimizer:
    return MuonOptimizer([dict(params=params, use_muon=True)], **options)


def weights(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [
        nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(dtype))
        for s in shapes
    ]


def gradients(step: int, params: list[nn.Parameter]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in params]


def give(params: list[nn.Parameter], values: list[Tensor]) -> None:
    for p, value in zip(params, values):
        p.grad = value.reshape(p.shape).to(p.dtype)


@pytest.mark.parametrize('adjust', ['original', 'match_rms_adamw'])
@pytest.mark.parametrize('nesterov', [True, False])
def test_equals_torch_on_matrices(
    adjust: str, nesterov: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 steps in float64; torch's iteration is kept from bfloat16."""
    reference = getattr(torch.optim, 'Muon', None)
    if reference is None:
        pytest.skip('torch.optim has Muon since 2.9')
    monkeypatch.setattr(Tensor, 'bfloat16', Tensor.clone)
    ours = weights(*MATRICES)
    theirs = copy.deepcopy(ours)
    options: dict[str, Any] = dict(lr=0.02, weight_decay=0.1, momentum=0.9, nesterov=nesterov)
    mine = muon(ours, adjust_lr=adjust, **options)
    other = reference(theirs, adjust_lr_fn=adjust, **options)
    for step in range(50):
        give(ours, gradients(step, ours))
        give(theirs, gradients(step, ours))
        mine.step()
        other.step()
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_group_for_every_parameter_steps_as_one_group() -> None:
    """So AGVM may divide its groups, and groups of equal options may be joined."""
    together, apart = weights(*MATRICES, (6,), (3,)), weights(*MATRICES, (6,), (3,))
    options: dict[str, Any] = dict(lr=0.02, weight_decay=0.1)
    matrices = len(MATRICES)
    one = MuonOptimizer(
        [
            dict(params=together[:matrices], use_muon=True),
            dict(params=together[matrices:], use_muon=False),
        ],
        **options,
    )
    many = MuonOptimizer(
        [dict(params=[p], use_muon=i < matrices) for i, p in enumerate(apart)], **options
    )
    for step in range(5):
        give(together, gradients(step, together))
        give(apart, gradients(step, together))
        one.step()
        many.step()
    assert all(torch.equal(a, b) for a, b in zip(together, apart))
    assert is_parameterwise(one)


def test_a_step_follows_the_published_rule() -> None:
    """Worked out with a singular value decomposition."""
    (weight,) = weights((4, 7))
    before = weight.detach().clone()
    optimizer = muon([weight], lr=0.1, weight_decay=0.3, momentum=0.8, adjust_lr='original')
    momentum = torch.zeros(4, 7, dtype=torch.float64)
    for step in range(3):
        (gradient,) = gradients(step, [weight])
        give([weight], [gradient])
        optimizer.step()
        momentum = 0.8 * momentum + 0.2 * gradient
        left, s, right = torch.linalg.svd(0.8 * momentum + 0.2 * gradient, full_matrices=False)
        s = s / s.norm()
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        before = (1 - 0.1 * 0.3) * before - 0.1 * (left * s) @ right
    torch.testing.assert_close(weight.detach(), before, rtol=0, atol=1e-12)


def test_the_scale_of_a_shape() -> None:
    """Entries of root mean square 0.2 where the orthogonal factor is exact; sqrt(out / in)."""
    cubic: dict[str, Any] = dict(ns_steps=40, ns_coefficients=(1.5, -0.5, 0.0), lr=1.0)
    for shape in ((8, 2), (2, 8), (4, 2, 2, 2)):
        outputs, inputs = shape[0], torch.Size(shape[1:]).numel()
        # U V^T has as many ones as its shorter side among its outputs x inputs entries.
        exact = max(outputs, inputs) ** -0.5
        ratios = dict(match_rms_adamw=0.2 / exact, original=max(1.0, outputs / inputs) ** 0.5)
        for adjust, ratio in ratios.items():
            (weight,) = weights(shape)
            before = weight.detach().clone()
            optimizer = muon([weight], adjust_lr=adjust, **cubic)
            give([weight], gradients(0, [weight]))
            optimizer.step()
            step = (weight.detach() - before).square().mean().sqrt()
            assert step.item() == pytest.approx(exact * ratio, rel=1e-6), (shape, adjust)


@pytest.mark.parametrize('memory', [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_its_flattened_matrix(memory: torch.memory_format) -> None:
    (conv,) = weights((8, 3, 3, 3))
    conv = nn.Parameter(conv.detach().to(memory_format=memory))
    matrix = nn.Parameter(conv.detach().reshape(8, 27).clone())
    first, second = muon([conv], weight_decay=0.1), muon([matrix], weight_decay=0.1)
    for step in range(5):
        values = gradients(step, [matrix])
        conv.grad = values[0].reshape(8, 3, 3, 3).to(memory_format=memory)
        matrix.grad = values[0]
        first.step()
        second.step()
    torch.testing.assert_close(conv.detach().reshape(8, 27), matrix.detach(), rtol=0, atol=1e-13)


@pytest.mark.parametrize('adjust', ['original', 'match_rms_adamw'])
@pytest.mark.parametrize('groups', [2, 4, 12])
def test_groups_are_separate_convolutions(groups: int, adjust: str) -> None:
    (whole,) = weights((12, 2, 3, 3))
    parts = [nn.Parameter(part.clone()) for part in whole.detach().chunk(groups)]
    config = dict(params=[whole], use_muon=True, blocks=groups)
    first = MuonOptimizer([config], weight_decay=0.1, adjust_lr=adjust)
    second = muon(parts, weight_decay=0.1, adjust_lr=adjust)
    for step in range(5):
        values = gradients(step, [whole])[0]
        give([whole], [values])
        give(parts, list(values.chunk(groups)))
        first.step()
        second.step()
    expected = torch.cat([part.detach() for part in parts])
    torch.testing.assert_close(whole.detach(), expected, rtol=0, atol=1e-13)


def test_a_transposed_convolution_is_its_transposed_matrix() -> None:
    (weight,) = weights((6, 4, 2, 2))  # 6 inputs, 4 x 2 x 2 outputs
    matrix = nn.Parameter(weight.detach().reshape(6, 16).T.clone())
    config = dict(params=[weight], use_muon=True, transposed=True)
    first = MuonOptimizer([config], adjust_lr='original')
    second = muon([matrix], adjust_lr='original')
    values = gradients(0, [weight])[0]
    give([weight], [values])
    matrix.grad = values.reshape(6, 16).T.clone()
    first.step()
    second.step()
    torch.testing.assert_close(
        weight.detach().reshape(6, 16).T, matrix.detach(), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ('rest', 'reference'),
    [
        (
            dict(type='AdamW', betas=(0.8, 0.95), eps=1e-6, lr_ratio=0.5, decay_ratio=0.1),
            lambda p: torch.optim.AdamW(
                p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.02, foreach=True
            ),
        ),
        (
            dict(type='SGD', momentum=0.7, nesterov=True, lr_ratio=0.5, decay_ratio=0.1),
            lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.7, nesterov=True, weight_decay=0.02),
        ),
    ],
)
def test_the_rest_is_torchs_own_bit_for_bit(rest: dict, reference: Any, dtype: torch.dtype) -> None:
    ours = weights((4,), (), (3, 2), dtype=dtype)
    theirs = copy.deepcopy(ours)
    mine = MuonOptimizer([dict(params=ours, use_muon=False)], lr=0.02, weight_decay=0.2, rest=rest)
    other = reference(theirs)
    for step in range(5):
        give(ours, gradients(step, ours))
        give(theirs, gradients(step, ours))
        mine.step()
        other.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


def _launched(optimizer: torch.optim.Optimizer) -> list[str]:
    optimizer.step()
    with load_tool('lab.optimizer_cost').Launches() as operations:
        optimizer.step()
    return operations.names


def test_equal_shapes_are_one_batch_across_groups() -> None:
    """Also wide and tall ones, and also where each parameter has a group with a rate of its own."""
    one, many = weights((4, 12)), weights((4, 12), (12, 4), (4, 3, 2, 2), (4, 12))
    for params in (one, many):
        give(params, gradients(0, params))
    alone = muon(one)
    groups = [dict(params=[p], use_muon=True, lr=0.1 * (i + 1)) for i, p in enumerate(many)]
    together = _launched(MuonOptimizer(groups))
    products = [name for name in together if 'bmm' in name]
    assert products == [name for name in _launched(alone) if 'bmm' in name]
    assert len(together) <= len(_launched(alone)) + 8


@pytest.mark.parametrize(('name', 'most'), [('LAMB', 32), ('LARS', 20), ('Adan', 20)])
def test_the_number_of_launches_does_not_grow_with_the_tensors(name: str, most: int) -> None:
    pytest.importorskip('pytorch_optimizer')
    params = weights(*[(3, 4), (5,)] * 40)
    give(params, gradients(0, params))
    optimizer = OPTIMIZERS.build(dict(type=f'{name}Optimizer', params=params, lr=0.1))
    assert len(_launched(optimizer)) <= most


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(lr=-1.0), r'^optim_wrapper.optimizer.lr is -1.0; allowed is a number from 0 on\.$'),
        (dict(momentum=1.0), r'optimizer.momentum is 1.0; allowed is a number in \[0, 1\)'),
        (dict(ns_steps=0), r'optimizer.ns_steps is 0; allowed is a whole number from 1 on'),
        (dict(ns_coefficients=(1, 2)), r'ns_coefficients is \(1, 2\); allowed is three numbers'),
        (dict(adjust_lr='rms'), r"adjust_lr is 'rms'; allowed is 'original' or 'match_rms_adamw'"),
        (dict(rest=dict(type='Adam')), r"rest.type is 'Adam'; allowed is 'AdamW' or 'SGD'"),
        (
            dict(rest=dict(momentum=0.9)),
            r"rest has the unknown key 'momentum'; known are lr_ratio,",
        ),
        (
            dict(rest=dict(betas=[0.9])),
            r'rest.betas is \(0.9,\); allowed is two numbers in \[0, 1\)',
        ),
        (dict(rest=dict(lr_ratio=-1)), r'rest.lr_ratio is -1; allowed is a number from 0 on'),
    ],
)
def test_bad_options_are_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        muon(weights((2, 3)), **options)


def test_nobody_says_which_parameters_are_matrices() -> None:
    with pytest.raises(ValueError, match='nothing says which parameters are its matrices; set'):
        MuonOptimizer(weights((2, 3)))


def test_a_vector_is_no_matrix() -> None:
    with pytest.raises(ValueError, match=r'of shape \(3,\) is in a group with use_muon=True'):
        muon(weights((3,)))


def test_bfloat16_of_a_gpu_is_near_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU computes in, computed here."""
    from agvm_mm.optimizers import matrices as module

    exact, rounded = (weights((16, 90), (90, 16), (12, 2, 3, 3), dtype=torch.float32) for _ in '12')
    start = [p.detach().clone() for p in exact]
    for params, dtype in ((exact, torch.float32), (rounded, torch.bfloat16)):
        monkeypatch.setattr(module, 'computation_dtype', lambda _, dtype=dtype: dtype)
        optimizer = muon(params, lr=0.1)
        for step in range(3):
            give(params, gradients(step, params))
            optimizer.step()
    for a, b, first in zip(exact, rounded, start):
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() < 0.03 * (a - first).norm()
