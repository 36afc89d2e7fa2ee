"""Numbers computed with other implementations and by hand; the definition of scale is theirs."""

from __future__ import annotations

import pytest
import torch
from kfac_nets import measured_factors
from torch import Tensor, nn

from agvm_mm.kfac import factors
from agvm_mm.kfac.kl_clip import kl_multiplier
from agvm_mm.kfac.solve import damped_inverse, pi_ratio, precondition, solve

DOUBLE = torch.float64


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def close(left: Tensor, right: object, tolerance: float = 1e-13) -> None:
    expected = right if isinstance(right, Tensor) else tensor(right)
    assert left.shape == expected.shape
    assert (left - expected).abs().max() <= tolerance * expected.abs().max()


def linear_case() -> nn.Linear:
    layer = nn.Linear(2, 2, dtype=DOUBLE)
    layer.weight.data = tensor([[1, 2], [3, 4]])
    layer.bias.data = tensor([0.5, -0.5])
    return layer


INPUTS = tensor([[1, 0], [0, 2]])
A = [[0.5, 0, 0.5], [0, 2, 1], [0.5, 1, 1]]
G = [[11.25, 18.75], [18.75, 31.25]]
GRADIENT = [[0.75, 4.5, 3], [1.25, 7.5, 5]]


def half_square(outputs: Tensor) -> Tensor:
    return 0.5 * outputs.square().sum() / len(outputs)


class TestLinear:
    """K1."""

    def test_factors_and_gradient(self) -> None:
        layer = linear_case()
        kfac = measured_factors(layer, INPUTS, half_square)
        a, g = kfac.layers[0].factors
        close(a[0], A)
        close(g[0], G)
        close(kfac.layers[0].helper.matrix()[0], GRADIENT)

    def test_preconditioned_gradient(self) -> None:
        layer = linear_case()
        kfac = measured_factors(layer, INPUTS, half_square, damping=2.5e-4)
        close(pi_ratio(*kfac.layers[0].factors), [0.23431167445160245])
        kfac.step(0, {})
        close(
            torch.cat([layer.weight.grad, layer.bias.grad[:, None]], 1),
            [
                [0.007814631567686803, 0.03910200256408558, 0.027365632848768584],
                [0.013024385945438866, 0.06517000427311537, 0.045609388081993885],
            ],
            1e-10,
        )


class TestOtherScale:
    """K2: kfac-pytorch's scale of G, its moving average from the identity and its damping."""

    def moved(self) -> tuple[Tensor, Tensor]:
        kfac = measured_factors(linear_case(), INPUTS, half_square)
        a, g = kfac.layers[0].factors
        identities = torch.eye(3, dtype=DOUBLE)[None], torch.eye(2, dtype=DOUBLE)[None]
        images = len(INPUTS)
        return torch.lerp(a, identities[0], 0.95), torch.lerp(g / images**2, identities[1], 0.95)

    def clipped(self, result: Tensor) -> tuple[Tensor, Tensor]:
        size = 0.1**2 * (result * tensor([GRADIENT])).sum()
        clip = kl_multiplier(size, 0.001)
        return clip, result[0] * clip

    def test_factors(self) -> None:
        a, g = self.moved()
        close(a[0], [[0.975, 0, 0.025], [0, 1.05, 0.05], [0.025, 0.05, 1]])
        close(g[0], [[1.090625, 0.234375], [0.234375, 1.340625]])

    def test_exact_damping_in_the_eigenbasis(self) -> None:
        a, g = self.moved()
        result = precondition(tensor([GRADIENT]), solve([a, g], 0.001, 'eigen', DOUBLE), 0.001)
        scale, clipped = self.clipped(result)
        assert float(scale) == pytest.approx(0.03774462948991921, rel=1e-6)
        close(
            clipped,
            [
                [0.0177770294, 0.1057739245, 0.0706639916],
                [0.0296283823, 0.1762898741, 0.1177733194],
            ],
            1e-6,
        )
        kronecker = torch.kron(g[0], a[0]) + 0.001 * torch.eye(6, dtype=DOUBLE)
        close(result[0].reshape(-1), torch.linalg.solve(kronecker, tensor(GRADIENT).reshape(-1)))

    def test_damping_on_each_factor(self) -> None:
        a, g = self.moved()
        inverses = [damped_inverse(factor, 0.001, DOUBLE) for factor in (a, g)]
        scale, clipped = self.clipped(precondition(tensor([GRADIENT]), inverses, 0.001))
        assert float(scale) == pytest.approx(0.037763030088474495, rel=1e-6)
        close(
            clipped,
            [
                [0.0177683234, 0.1057224119, 0.0706295294],
                [0.0296138723, 0.1762040199, 0.1177158823],
            ],
            1e-6,
        )


class TestConvolution:
    """K3 and K4."""

    A = [[0.46, 0.58, 0.82, 0.94], [0.58, 0.74, 1.06, 1.22],
         [0.82, 1.06, 1.54, 1.78], [0.94, 1.22, 1.78, 2.06]]  # fmt: skip

    def measured(self, damping: float = 1.0):
        layer = nn.Conv2d(1, 1, 2, bias=False, dtype=DOUBLE)
        image = (torch.arange(1, 10, dtype=DOUBLE) / 10).reshape(1, 1, 3, 3)
        upstream = tensor([[1, -1], [2, 0]]) / 10
        return layer, measured_factors(
            layer, image, lambda out: (out * upstream).sum(), damping=damping
        )

    def test_factors_and_gradient(self) -> None:
        _, kfac = self.measured()
        a, g = kfac.layers[0].factors
        close(a[0], self.A)
        close(g[0], [[0.015]])
        close(pi_ratio(a, g), [8.94427190999916])
        close(kfac.layers[0].helper.matrix()[0], [[0.07, 0.09, 0.13, 0.15]])

    def test_preconditioned_gradient(self) -> None:
        layer, kfac = self.measured(damping=2.5e-4)
        kfac.step(0, {})
        close(
            layer.weight.grad.reshape(-1),
            [0.9652067968563873, 1.1616180404064664, 1.5544405275066282, 1.7508517710567197],
            1e-10,
        )

    def test_scale_relations(self) -> None:
        """kfac-pytorch divides A by S^3, G by n^2 S^2; here n = 1, S = 4."""
        _, kfac = self.measured()
        a, g = kfac.layers[0].factors
        rows = tensor([[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]) / 10
        theirs_a = (rows / 4).T @ (rows / 4) / 4  # patches over S, then the mean over n S rows
        column = tensor([[1], [-1], [2], [0]]) / 10 / 4
        theirs_g = column.T @ column / 4
        close(theirs_a * 4**3, a[0])
        close(theirs_g * 4**2, g[0])

    def test_only_the_product_of_the_scales_matters(self) -> None:
        _, kfac = self.measured()
        a, g = kfac.layers[0].factors
        matrix = kfac.layers[0].helper.matrix()
        first = precondition(matrix, solve([a, g], 0.1, 'cholesky', DOUBLE), 0.1)
        second = precondition(matrix, solve([a * 7, g / 7], 0.1, 'cholesky', DOUBLE), 0.1)
        close(first, second)


class TestNorm:
    """K5."""

    def test_two_by_two_block(self) -> None:
        block = tensor([[[2, 1], [1, 3]]])
        result = precondition(tensor([[[1], [2]]]), solve([block], 0.5, 'cholesky', DOUBLE), 0.5)
        close(result.reshape(-1), [1.5 / 7.75, 4 / 7.75])

    @pytest.mark.parametrize('training', [True, False])
    def test_a_channel_of_scale_zero(self, training: bool) -> None:
        layer = nn.BatchNorm2d(2, dtype=DOUBLE).train(training)
        layer.weight.data[0] = 0
        inputs = torch.randn(3, 2, 4, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
        upstream = torch.randn(3, 2, 4, 4, dtype=DOUBLE)
        kfac = measured_factors(layer, inputs, lambda out: (out * upstream).sum() / 3)
        shifted = inputs - inputs.mean((0, 2, 3), keepdim=True) if training else inputs
        variance = inputs.var((0, 2, 3), correction=0) if training else torch.ones(2, dtype=DOUBLE)
        hidden = shifted / (variance.reshape(1, 2, 1, 1) + layer.eps).sqrt()
        grads = torch.stack([(upstream * hidden).sum((2, 3)), upstream.sum((2, 3))], -1)
        close(kfac.layers[0].factors[0], torch.einsum('nci,ncj->cij', grads, grads) / 3, 1e-12)
        kfac.step(0, {})
        assert layer.weight.grad.isfinite().all() and layer.weight.grad[0] != 0


class TestSharedHead:
    """K7."""

    def levels(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(1)
        return [
            torch.randn(2, 3, size, size, dtype=DOUBLE, generator=generator) for size in (8, 4, 2)
        ]

    def factors(self, levels: list[Tensor]) -> list[Tensor]:
        torch.manual_seed(0)
        layer = nn.Conv2d(3, 4, 1, dtype=DOUBLE)

        class Head(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = layer

            def forward(self, inputs: list[Tensor]) -> Tensor:
                outputs = [self.conv(level) for level in inputs]
                return torch.cat([out.flatten(2) for out in outputs], 2)

        kfac = measured_factors(
            Head(), levels, lambda out: out.square().sum() / 2, images=2, momentum=0.5
        )
        assert kfac.layers[0].clock.next == 1  # one measurement, whatever the calls
        return kfac.layers[0].factors

    def test_calls_are_positions_of_one_call(self) -> None:
        levels = self.levels()
        joined = torch.cat([level.flatten(2) for level in levels], 2)[..., None]
        for found, expected in zip(self.factors(levels), self.factors([joined])):
            close(found, expected)

    def test_the_order_of_the_calls_is_irrelevant(self) -> None:
        levels = self.levels()
        for found, expected in zip(self.factors(levels), self.factors(levels[::-1])):
            close(found, expected)


class TestExact:
    """K8."""

    def test_one_sample_has_an_exact_block(self) -> None:
        torch.manual_seed(0)
        layer = nn.Linear(3, 2, dtype=DOUBLE)
        kfac = measured_factors(
            layer, torch.randn(1, 3, dtype=DOUBLE), lambda out: out.pow(3).sum()
        )
        a, g = kfac.layers[0].factors
        gradient = kfac.layers[0].helper.matrix().reshape(-1)
        close(torch.kron(g[0], a[0]), torch.outer(gradient, gradient))

    def test_a_convolution_with_one_position_is_a_linear(self) -> None:
        torch.manual_seed(0)
        inputs = torch.randn(5, 2, 3, 3, dtype=DOUBLE)
        conv, linear = nn.Conv2d(2, 4, 3, dtype=DOUBLE), nn.Linear(18, 4, dtype=DOUBLE)
        linear.weight.data, linear.bias.data = conv.weight.data.reshape(4, 18), conv.bias.data
        of_conv = measured_factors(conv, inputs, lambda out: out.pow(3).sum() / 5)
        of_linear = measured_factors(linear, inputs.flatten(1), lambda out: out.pow(3).sum() / 5)
        for found, expected in zip(of_conv.layers[0].factors, of_linear.layers[0].factors):
            close(found, expected)

    @pytest.mark.parametrize('solver', ['cholesky', 'eigen'])
    def test_a_large_damping_leaves_the_direction(self, solver: str) -> None:
        a, g = tensor([A]), tensor([G])
        result = precondition(tensor([GRADIENT]), solve([a, g], 1e12, solver, DOUBLE), 1e12)
        close(result * 1e12, tensor([GRADIENT]), 1e-4)

    def test_identity_factors(self) -> None:
        identities = [torch.eye(n, dtype=DOUBLE)[None] for n in (3, 2)]
        result = precondition(tensor([GRADIENT]), solve(identities, 0.09, 'cholesky', DOUBLE), 0.09)
        close(result[0], tensor(GRADIENT) / 1.3**2)

    def test_dilation_stride_and_padding_are_those_of_the_layer(self) -> None:
        """A from the layer's own gradient: with one position and one image, G (x) A = g g^T."""
        torch.manual_seed(0)
        conv = nn.Conv2d(2, 3, 3, stride=(2, 3), padding=(1, 2), dilation=(2, 1), dtype=DOUBLE)
        inputs = torch.randn(1, 2, 7, 9, dtype=DOUBLE)
        mask = torch.zeros_like(conv(inputs))
        mask[0, :, 1, 2] = torch.randn(3, dtype=DOUBLE)
        kfac = measured_factors(conv, inputs, lambda out: (out * mask).sum())
        a, g = kfac.layers[0].factors
        gradient = kfac.layers[0].helper.matrix()[0]
        column = gradient.T @ gradient  # |g|^2 times the patch's outer product
        [patch] = factors.patches(conv, inputs)
        at = patch[0, :, mask.shape[3] + 2]
        close(column[:-1, :-1] / mask.square().sum(), torch.outer(at, at))
        close(a[0, :-1, :-1], patch[0] @ patch[0].T)
        assert g[0].trace() > 0
