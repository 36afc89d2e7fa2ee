"""Options of K-FAC and what it reports, each on a case that is worked out by hand."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kfac_nets import (
    PLAIN,
    MixedNet,
    distance,
    factors_of,
    kfac_of,
    measured_factors,
    mixed_batch,
    train_mixed,
)
from torch import Tensor, nn

from agvm_mm import AGVMOptimWrapper
from agvm_mm.kfac import factors, scalars
from agvm_mm.kfac.convolution import ConvHelper
from agvm_mm.kfac.modules import KroneckerHelper, ModuleHelper, NormHelper
from agvm_mm.parts import KFACPart

DOUBLE = torch.float64


def tensor(values: object, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.tensor(values, dtype=dtype)


class TestNormDamping:
    """Two images with x = 1 and 0, the gradient of the output is 2 for both.

    Scale and shift of the norm layer get (2, 2) and (0, 2): F = [[2, 2], [2, 4]], gradient (1, 2).
    The Linear in the other branch has A = G = 1 and the gradient 1.
    """

    def preconditioned(self, **settings: Any) -> list[float]:
        network = nn.ModuleDict(
            dict(norm=nn.BatchNorm1d(1, eps=0.0).eval(), linear=nn.Linear(1, 1, bias=False))
        ).double()
        kfac = kfac_of(network, **settings)
        loss = 2 * network.norm(tensor([[1.0], [0.0]])).sum() / 2
        loss = loss + network.linear(tensor([[1.0], [1.0]])).sum() / 2
        with kfac.around_backward(0, 1, 2):
            loss.backward()
        assert [float(p.grad) for p in network.parameters()] == [1, 2, 1]
        kfac.step(0, {})
        return [float(p.grad) for p in network.parameters()]

    def test_only_norm_layers_get_the_multiple(self) -> None:
        """0.25 x 4 makes F [[3, 2], [2, 5]], of inverse [[5, -2], [-2, 3]] / 11."""
        found = self.preconditioned(damping=0.25, norm_damping=4.0)
        # Of the Linear pi is 1: both factors become 1 + sqrt(0.25).
        assert found == pytest.approx([1 / 11, 4 / 11, 1 / 1.5**2])

    def test_the_eigenbasis_too(self) -> None:
        found = self.preconditioned(damping=0.25, norm_damping=4.0, solver='eigen')
        assert found == pytest.approx([1 / 11, 4 / 11, 1 / 1.25])

    def test_without_a_multiple(self) -> None:
        """[[2.25, 2], [2, 4.25]] has the determinant 89 / 16."""
        found = self.preconditioned(damping=0.25, norm_damping=1.0)
        assert found[:2] == pytest.approx([(4.25 - 4) * 16 / 89, (-2 + 4.5) * 16 / 89])


@pytest.mark.parametrize(('precision', 'right'), [('float64', True), ('float32', False)])
def test_precision_is_that_of_the_inversion(precision: str, right: bool) -> None:
    """A = [[1, 1], [1, 1]], G = 1, damped by d = 1e-6, of which float32 loses a twentieth in 1 + d.

    The inverse of A + d I is [[1 + d, -1], [-1, 1 + d]] / (2 d + d^2).
    """
    layer = nn.Linear(2, 1, bias=False)
    kfac = measured_factors(
        layer, torch.ones(3, 2), lambda out: out.sum() / 3, damping=1e-12, precision=precision
    )
    assert kfac.layers[0].factors[0].dtype == torch.float32
    kfac.step(0, {})
    found = kfac.layers[0].apply([torch.tensor([[1.0, 0.0]])])
    assert found is not None and found.dtype == torch.float32
    d = 1e-6
    expected = tensor([1 + d, -1]) / (2 * d + d * d) / (1 + d)
    error = (found.double() - expected).norm() / expected.norm()
    assert error < 1e-6 if right else error > 1e-3


def test_rescale_weights_follows_the_step() -> None:
    """Each weight is what the step has made of it, shrunk to sqrt(2 x outputs)."""
    found = []
    for rescale in (False, True):
        torch.manual_seed(0)
        network = MixedNet().train()
        network.head.weight.data.fill_(1.0)  # sqrt(24) long; the bound is sqrt(8)
        kfac = dict(damping=0.1, rescale_weights=rescale)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        wrapper = AGVMOptimWrapper(optimizer, agvm=None, kfac=kfac)
        wrapper.initialize_count_status(network, 0, 1)
        network.train_step(mixed_batch(0, range(8), torch.float32), wrapper)
        found.append((network, wrapper.part(KFACPart).preconditioner.layers))
    (plain, layers), (rescaled, _) = found
    shrinkable = {
        f'{layer.name}.weight' for layer in layers if isinstance(layer.helper, KroneckerHelper)
    }
    shrunk = set()
    after = dict(rescaled.named_parameters())
    for name, parameter in plain.named_parameters():
        weight = parameter.detach()
        factor = min(1.0, (2 * len(weight)) ** 0.5 / float(weight.norm()))
        if name in shrinkable and factor < 1:
            shrunk.add(name)
            assert torch.allclose(after[name], weight * factor, rtol=1e-5, atol=0), name
        else:
            assert torch.equal(after[name], weight), name
    assert 'head.weight' in shrunk and shrunk < shrinkable


class OneParameter:
    def __init__(self) -> None:
        self.parameters = [nn.Parameter(torch.zeros(1))]


class TestReport:
    def test_layers_of_a_module_are_added_up_before_the_root(self) -> None:
        """Lengths sqrt(1 + 3) and sqrt(4 + 12), inner product 1 + 3: ratio 2, cosine 4 / 8."""
        layers = [OneParameter() for _ in range(4)]
        names = ['backbone', 'head', 'backbone', 'unused']
        module_of = {id(layer.parameters[0]): name for layer, name in zip(layers, names)}
        products = [[1, 4, 1], [4, 1, -1], [3, 12, 3], [0, 0, 0]]
        kfac: Any = SimpleNamespace(products=dict(zip(layers, products)), kl_multiplier=0.25)
        assert scalars(kfac, module_of) == {
            'kl_multiplier': 0.25,
            'ratio/backbone': 2.0,
            'cosine/backbone': 0.5,
            'ratio/head': 0.5,
            'cosine/head': -0.5,
        }

    def test_before_a_measurement_there_is_nothing(self) -> None:
        kfac: Any = SimpleNamespace(products={})
        assert scalars(kfac, {}) == {}

    def test_the_log_compares_the_gradients_of_the_step(self) -> None:
        torch.manual_seed(0)
        network = MixedNet().double().train()
        twin = copy.deepcopy(network)
        batch = mixed_batch(0, range(8), DOUBLE)
        twin(**twin.data_preprocessor(batch, True), mode='loss')['loss'].backward()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        wrapper = AGVMOptimWrapper(optimizer, agvm=None, kfac=dict(PLAIN, damping=0.1))
        wrapper.initialize_count_status(network, 0, 1)
        stepped = {}
        optimizer.register_step_pre_hook(
            lambda *_: stepped.update({n: p.grad.clone() for n, p in network.named_parameters()})
        )
        network.train_step(batch, wrapper)
        logged = {
            name: scalar.current() for name, scalar in wrapper.message_hub.log_scalars.items()
        }
        for module in ('backbone', 'neck', 'shared', 'norm', 'head'):
            plain, new = (
                torch.cat([grads[n].flatten() for n in grads if n.startswith(f'{module}.')])
                for grads in ({n: p.grad for n, p in twin.named_parameters()}, stepped)
            )
            ratio = float(new.norm() / plain.norm())
            cosine = float(new @ plain / new.norm() / plain.norm())
            assert logged[f'train/kfac/ratio/{module}'] == pytest.approx(ratio, rel=1e-9)
            assert logged[f'train/kfac/cosine/{module}'] == pytest.approx(cosine, rel=1e-9)
        assert logged['train/kfac/kl_multiplier'] == 1.0


class TestPatches:
    @pytest.mark.parametrize('groups', [1, 2])
    def test_a_small_budget_takes_the_images_in_parts(
        self, monkeypatch: pytest.MonkeyPatch, groups: int
    ) -> None:
        torch.manual_seed(0)
        conv = nn.Conv2d(4, 2, 3, stride=2, padding=1, groups=groups).double()
        images = torch.randn(5, 4, 7, 6, dtype=DOUBLE)

        def measured() -> list[Tensor]:
            kfac = measured_factors(copy.deepcopy(conv), images, lambda out: out.pow(2).sum() / 5)
            return kfac.layers[0].factors

        (whole,), expected = factors.patches(conv, images), measured()
        positions = 4 * 3  # of 7 x 6 pixels, every second one
        assert whole.shape == (groups, 36 // groups, 5 * positions)
        monkeypatch.setattr(factors, 'PATCH_BUDGET', 2 * 36 * positions)
        parts = list(factors.patches(conv, images))
        assert [part.shape[2] // positions for part in parts] == [2, 2, 1]
        assert torch.equal(torch.cat(parts, 2), whole)
        for found, theirs in zip(measured(), expected, strict=True):
            assert torch.allclose(found, theirs, rtol=1e-12, atol=1e-14)

    def test_an_image_over_the_budget_is_taken_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(factors, 'PATCH_BUDGET', 1)
        parts = list(factors.patches(nn.Conv2d(2, 1, 3), torch.zeros(3, 2, 5, 5)))
        assert [part.shape for part in parts] == [(1, 18, 9)] * 3


def test_reasons_of_norm_layers() -> None:
    network = nn.ModuleDict(
        dict(known=nn.Linear(2, 2), scale=nn.LayerNorm(4, bias=False), plane=nn.LayerNorm((2, 3)))
    )
    kfac = kfac_of(network)
    assert [layer.name for layer in kfac.layers] == ['known']
    assert {name.split('.')[0]: reason for name, reason in kfac.left.items()} == {
        'scale': 'scale without shift',
        'plane': 'a scale of several dimensions',
    }


@pytest.mark.parametrize(('passes', 'measured'), [(1, [3]), (2, [2, 3]), (9, [0, 1, 2, 3])])
def test_the_last_passes_of_an_update_are_measured(passes: int, measured: list[int]) -> None:
    """One update of four passes of two images, against one pass over the measured images alone."""
    network = MixedNet().double()
    few = train_mixed(0, 1, counts=4, updates=1, dtype=DOUBLE, measured_passes=passes)
    every = train_mixed(0, 1, counts=4, updates=1, dtype=DOUBLE)
    torch.manual_seed(0)
    network = MixedNet().double().train()
    kfac = kfac_of(network)
    for i, index in enumerate(measured):
        data = mixed_batch(0, range(2 * index, 2 * index + 2), DOUBLE)
        loss = network(**data, mode='loss')['loss'] / len(measured)
        with kfac.around_backward(i, len(measured), 2):
            loss.backward()
    assert kfac._measure(0)
    expected = kfac.state_dict()['layers']
    for name, found in factors_of(few).items():
        assert distance(found, expected[name]['factors']) < 1e-12, name
    differs = [
        distance(a, b) > 1e-3 for a, b in zip(*(factors_of(r).values() for r in (few, every)))
    ]
    assert any(differs) == (len(measured) < 4)


@pytest.mark.parametrize(('total', 'noted'), [(12, [3, 7, 11]), (10, [3, 7, 9])])
def test_calls_are_noted_only_before_passes_that_are_measured(
    monkeypatch: pytest.MonkeyPatch, total: int, noted: list[int]
) -> None:
    """Three updates of four passes, or with a last one of two; their last pass is measured."""
    micro, seen = 0, []
    for kind in (ModuleHelper, NormHelper, ConvHelper):

        def noting(self: Any, inputs: Tensor, original: Any = kind.context) -> Any:
            seen.append((micro, self.name))
            return original(self, inputs)

        monkeypatch.setattr(kind, 'context', noting)
    network = MixedNet().train()
    wrapper = AGVMOptimWrapper(
        torch.optim.SGD(network.parameters(), lr=0.1),
        accumulative_counts=4,
        agvm=None,
        kfac=dict(statistics_interval=1, inverse_interval=1, measured_passes=1, **PLAIN),
    )
    wrapper.initialize_count_status(network, 0, total)
    for micro in range(total):
        network.train_step(mixed_batch(micro, range(2), torch.float32), wrapper)
    # The head is called on two levels of the pyramid.
    names = [layer.name for layer in wrapper.part(KFACPart).preconditioner.layers]
    calls = sorted([*names, 'shared'])
    assert sorted(seen) == [(i, n) for i in noted for n in calls]
