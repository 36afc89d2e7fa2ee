"""What counts, how often, and what is left alone."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from cpu_amp import on_cpu
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
from ranks import run_ranks
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from agvm_mm import AGVMAmpOptimWrapper
from agvm_mm.kfac.normalize import statistics
from agvm_mm.kfac.preconditioner import UNCALLED

DOUBLE = torch.float64


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE)


def same(left: Any, right: Any) -> None:
    for ours, theirs in zip(left.layers, right.layers, strict=True):
        for a, b in zip(ours.factors, theirs.factors, strict=True):
            assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class TestCalls:
    @pytest.mark.parametrize('first', [nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 1)])
    def test_an_activation_that_overwrites_the_output(self, first: nn.Module) -> None:
        images = randn(4, 2, 6, 6)

        def network(inplace: bool) -> nn.Module:
            norm = nn.BatchNorm2d(3)
            return nn.Sequential(
                copy.deepcopy(first), nn.ReLU(inplace=inplace), norm, nn.ReLU(inplace=inplace)
            ).double()

        square = lambda out: out.square().sum() / 4  # noqa: E731
        same(
            measured_factors(network(True), images, square),
            measured_factors(network(False), images, square),
        )

    @pytest.mark.parametrize(
        ('layer', 'shape'),
        [
            (nn.Linear(3, 4), (2, 5, 3)),
            (nn.Linear(3, 4), (2, 2, 5, 3)),
            (nn.Conv2d(3, 4, 3), (3, 6, 6)),
            (nn.LayerNorm(3), (2, 5, 3)),
        ],
    )
    def test_an_output_that_is_a_view_and_overwritten(
        self, layer: nn.Module, shape: tuple[int, ...]
    ) -> None:
        """Autograd forgets hooks on a view that is changed in place; ReLU leaves half of them."""
        inputs, square = randn(*shape), lambda out: out.square().sum() / 2
        found, expected = (
            measured_factors(
                nn.Sequential(copy.deepcopy(layer), nn.ReLU(inplace=inplace)).double(),
                inputs,
                square,
                images=2,
            )
            for inplace in (True, False)
        )
        assert found.measured
        same(found, expected)

    @pytest.mark.parametrize('reentrant', [False, True])
    def test_checkpointing_counts_once(self, reentrant: bool) -> None:
        layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4)).double()

        class Checkpointed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = copy.deepcopy(layers)

            def forward(self, inputs: Tensor) -> Tensor:
                return checkpoint(self.layers, inputs, use_reentrant=reentrant)

        inputs = randn(5, 3).requires_grad_()
        square = lambda out: out.square().sum() / 5  # noqa: E731
        same(
            measured_factors(Checkpointed(), inputs, square),
            measured_factors(copy.deepcopy(layers), inputs, square),
        )

    def test_calls_outside_of_the_loss_do_not_count(self) -> None:
        layer = nn.Linear(3, 2).double()
        inputs = randn(4, 3)

        class Wasteful(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = copy.deepcopy(layer)

            def forward(self, inputs: Tensor) -> Tensor:
                self.layer(inputs * 100)
                with torch.no_grad():
                    self.layer(inputs * 10)
                return self.layer(inputs)

        square = lambda out: out.square().sum() / 4  # noqa: E731
        same(
            measured_factors(Wasteful(), inputs, square),
            measured_factors(copy.deepcopy(layer), inputs, square),
        )

    def test_regions_are_weighted_by_images(self) -> None:
        """Six regions of two images: A per image, G per region, each of its own image's loss."""
        layer, regions = nn.Linear(3, 2, bias=False).double(), randn(6, 3)
        kfac = measured_factors(layer, regions, lambda out: out.square().sum() / 2, images=2)
        a, g = kfac.layers[0].factors
        assert torch.allclose(a[0], regions.T @ regions / 2)
        gradients = 2 * layer(regions).detach()
        assert torch.allclose(g[0], gradients.T @ gradients / 6)

    def test_no_region_at_all(self) -> None:
        network = nn.ModuleDict(
            dict(fc=nn.Linear(3, 2), conv=nn.Conv2d(3, 2, 3), norm=nn.BatchNorm2d(2).eval())
        )
        kfac = kfac_of(network)
        empty = torch.zeros(0, 3, 5, 5)
        loss = network.fc(torch.zeros(0, 3)).sum() + network.norm(network.conv(empty)).sum()
        with kfac.around_backward(0, 1, 2):
            loss.backward()
        kfac.step(0, {})
        assert kfac.skipped == 0 and not any(layer.solved for layer in kfac.layers)
        assert all(p.grad.isfinite().all() for p in network.parameters())

    def test_a_backward_pass_of_someone_else(self) -> None:
        layer, inputs = nn.Linear(3, 2).double(), randn(4, 3)
        kfac = kfac_of(layer)
        layer(inputs).sum().backward()
        assert kfac.layers[0].sums is None

    def test_copies_and_pickles_carry_nothing(self) -> None:
        layer = nn.Linear(3, 2).double()
        kfac = kfac_of(layer)
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            with kfac.around_backward(0, 1, 1):
                twin(randn(1, 3)).sum().backward()
            assert kfac.layers[0].sums is None


class TestGroups:
    def test_every_group_is_a_convolution_of_its_own(self) -> None:
        grouped = nn.Conv2d(4, 6, 3, groups=2).double()
        images = randn(3, 4, 5, 5)
        kfac = measured_factors(grouped, images, lambda out: out.square().sum() / 3)
        for group in range(2):
            conv = nn.Conv2d(2, 3, 3).double()
            conv.weight.data = grouped.weight.data[3 * group : 3 * group + 3]
            conv.bias.data = grouped.bias.data[3 * group : 3 * group + 3]
            part = images[:, 2 * group : 2 * group + 2]
            alone = measured_factors(conv, part, lambda out: out.square().sum() / 3)
            for ours, theirs in zip(kfac.layers[0].factors, alone.layers[0].factors):
                assert torch.allclose(ours[group], theirs[0])
            assert torch.allclose(
                kfac.layers[0].helper.matrix()[group], alone.layers[0].helper.matrix()[0]
            )

    def test_a_large_input_keeps_its_diagonal(self) -> None:
        conv, images = nn.Conv2d(4, 3, 3).double(), randn(3, 4, 5, 5)
        square = lambda out: out.square().sum() / 3  # noqa: E731
        dense = measured_factors(copy.deepcopy(conv), images, square)
        small = measured_factors(conv, images, square, max_size=10)
        (a, g), (diagonal, other) = dense.layers[0].factors, small.layers[0].factors
        assert diagonal.shape == (1, 37)
        assert torch.allclose(diagonal[0], a[0].diagonal()) and torch.equal(other, g)
        for kfac in (dense, small):
            kfac.layers[0].factors[0] = diagonal if kfac is small else torch.diag(diagonal[0])[None]
            kfac.step(0, {})
        ours, theirs = small.layers[0].helper.matrix(), dense.layers[0].helper.matrix()
        assert torch.allclose(ours, theirs)


def _sync(rank: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    images = randn(4, 3, 5, 5)
    mean, variance = statistics(
        nn.SyncBatchNorm(3).double().train(), images[2 * rank : 2 * rank + 2]
    )
    return mean - images.mean((0, 2, 3)), variance - images.var((0, 2, 3), correction=0)


def test_synchronised_statistics_are_those_of_all_ranks() -> None:
    for differences in run_ranks(_sync, 2):
        assert all(difference.abs().max() < 1e-14 for difference in differences)


class TestLeftAlone:
    def test_reasons(self) -> None:
        class Odd(nn.Linear):
            """Changes its weight in the forward pass."""

        network = nn.ModuleDict(
            dict(
                used=nn.Linear(2, 2),
                odd=Odd(2, 2),
                tied=nn.Linear(2, 2),
                twin=nn.Linear(2, 2),
                table=nn.Embedding(2, 2),
                partly=nn.Linear(2, 2),
                frozen=nn.Linear(2, 2).requires_grad_(False),
                out=nn.Linear(2, 2),
                depthwise=nn.Conv2d(2, 2, 3, groups=2),
                norm=nn.GroupNorm(1, 2),
            )
        )
        network.twin.weight = network.tied.weight
        network.partly.bias.requires_grad = False
        kfac = kfac_of(network, exclude=['out.'], grouped=False, norms=False)
        assert [layer.name for layer in kfac.layers] == ['used']
        reasons = {name.split('.')[0]: reason for name, reason in kfac.left.items()}
        assert reasons == {
            'odd': 'Odd is not known',
            'tied': 'a parameter of several modules',
            'twin': 'a parameter of several modules',
            'table': 'Embedding is not known',
            'partly': 'frozen in part',
            'out': 'excluded',
            'depthwise': 'grouped=False',
            'norm': 'norms=False',
        }

    def test_their_gradients_are_not_touched(self) -> None:
        network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).double()
        kfac = kfac_of(network, exclude=['1.'])
        with kfac.around_backward(0, 1, 4):
            network(randn(4, 3)).square().sum().backward()
        before = [p.grad.clone() for p in network.parameters()]
        kfac.step(0, {})
        changed = [not torch.equal(p.grad, old) for p, old in zip(network.parameters(), before)]
        assert changed == [True, True, False, False]

    def test_attentions(self) -> None:
        """Each for a reason of its own, of which some leave one projection alone."""

        class Own(nn.MultiheadAttention):
            def forward(self, query: Tensor, *_: Any) -> Tensor:
                return super().forward(query, query, query)[0]

        network = nn.ModuleDict({name: nn.MultiheadAttention(4, 2) for name in 'abcdef'})
        network.update(dict(own=Own(4, 2), extra=nn.MultiheadAttention(4, 2, add_bias_kv=True)))
        network.b.in_proj_bias.requires_grad = False
        network.c.out_proj.weight.requires_grad = False
        prune.l1_unstructured(network.d.out_proj, 'weight', amount=0.5)
        prune.l1_unstructured(network.e, 'in_proj_weight', amount=0.5)
        network.f.requires_grad_(False)
        kfac = kfac_of(network, exclude=['a.in_proj_weight'])
        whole = [f'extra.{kind}' for kind in ('q', 'k', 'v', 'out_proj')]
        assert [layer.name for layer in kfac.layers] == [
            *('a.out_proj', 'b.out_proj', 'c.q', 'c.k', 'c.v', 'd.q', 'd.k', 'd.v', 'e.out_proj'),
            *('own.out_proj', *whole),
        ]
        computed = 'computed from in_proj_weight_orig'
        assert kfac.left == {
            'a.in_proj_weight': 'excluded',
            'a.in_proj_bias': 'excluded',
            'b.in_proj_weight': 'frozen in part',
            'c.out_proj.bias': 'frozen in part',
            'd.out_proj.weight_orig': 'its weight is computed from weight_orig',
            'd.out_proj.bias': 'its weight is computed from weight_orig',
            'e.in_proj_weight_orig': f'its in_proj_weight is {computed}',
            'e.in_proj_bias': f'its in_proj_weight is {computed}',
            'own.in_proj_weight': 'Own is not known',
            'own.in_proj_bias': 'Own is not known',
            'extra.bias_k': 'no weight or bias of MultiheadAttention',
            'extra.bias_v': 'no weight or bias of MultiheadAttention',
        }

    def test_an_attention_that_never_calls_its_projection(self) -> None:
        """One of a class of its own that takes the weight of its projection."""

        class Own(nn.MultiheadAttention):
            def forward(self, query: Tensor) -> Tensor:
                return super().forward(query, query, query)[0]

        attention = Own(4, 2, batch_first=True)
        network = nn.Sequential(nn.Linear(4, 4), attention)
        kfac = kfac_of(network)
        with kfac.around_backward(0, 1, 2):
            network(torch.randn(2, 3, 4)).square().sum().backward()
        kfac.step(0, {})
        assert [layer.solved for layer in kfac.layers] == [True, False]
        assert kfac.left['1.out_proj.weight'] == UNCALLED


class TestMixedPrecision:
    def amp(self, scale: float, cast: bool) -> dict[str, Any]:
        torch.manual_seed(0)
        network = MixedNet().train()
        with on_cpu('AGVMAmpOptimWrapper'):
            wrapper = AGVMAmpOptimWrapper(
                optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
                dtype='bfloat16' if cast else None,
                agvm=None,
                kfac=dict(
                    PLAIN, momentum=0.95, damping=0.1, statistics_interval=1, inverse_interval=1
                ),
            )
        wrapper.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale)
        wrapper.cast_dtype = torch.bfloat16 if cast else torch.float32
        wrapper.initialize_count_status(network, 0, 2)
        for update in range(2):
            network.train_step(mixed_batch(update, range(8), torch.float32), wrapper)
        return dict(
            state=wrapper.state_dict()['kfac'],
            weights=torch.cat([p.detach().reshape(-1) for p in network.parameters()]),
        )

    def test_the_loss_scale_leaves_no_trace(self) -> None:
        """2^16 is a power of two: bit for bit."""
        one, many = self.amp(1.0, cast=True), self.amp(2.0**16, cast=True)
        for name, factor in factors_of(one).items():
            assert torch.equal(factor, factors_of(many)[name]), name
        assert torch.equal(one['weights'], many['weights'])

    def test_bfloat16_factors_are_close_to_float32_ones(self) -> None:
        """After the same two updates; a number of bfloat16 is right to 2^-8, these to 2^-5."""
        exact = factors_of(train_mixed(0, 1, updates=2, momentum=0.95))
        half = factors_of(self.amp(1.0, cast=True))
        assert half.keys() == exact.keys() and len(half) == 9
        distances = {name: distance(factor, exact[name]) for name, factor in half.items()}
        assert all(factor.dtype == torch.float32 for factor in half.values())
        assert max(distances.values()) < 2**-5, distances
        assert max(distances.values()) > 2**-10, 'nothing was rounded'
