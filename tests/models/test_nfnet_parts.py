"""Weight-standardised convolution, scaled activations and the block, against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

import agvm_mm  # noqa: F401
from agvm_mm.models.nfnet import GammaAct, ScaledWSConv2d
from agvm_mm.models.nfnet.block import (
    BlockShape,
    NormFreeBlock,
    SqueezeExcite,
    StochasticDepth,
    variances,
)


def conv(*args: Any, **kwargs: Any) -> ScaledWSConv2d:
    torch.manual_seed(0)
    layer = ScaledWSConv2d(*args, **kwargs).double()
    torch.nn.init.uniform_(layer.gain, 0.5, 2.0)
    return layer


class TestN1:
    def test_filters_have_mean_zero_and_the_gain_as_norm(self) -> None:
        layer = conv(3, 8, 3)
        rows = layer.standardized_weight().detach().flatten(1)
        assert rows.sum(1).abs().max() < 1e-14
        np.testing.assert_allclose(rows.norm(dim=1), layer.gain.detach().flatten(), rtol=1e-14)

    @pytest.mark.parametrize('std', [1.0, 1e-3])
    def test_equals_the_definition(self, std: float) -> None:
        """The floor is reached by weights of standard deviation 1e-3: 27e-6 < 1e-4."""
        layer = conv(3, 8, 3)
        torch.nn.init.normal_(layer.weight, std=std)
        w, gain = layer.weight.detach().numpy(), layer.gain.detach().numpy()
        mean, var = (f(w, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.var))
        expected = (w - mean) * gain / np.sqrt(np.maximum(27 * var, 1e-4))
        np.testing.assert_allclose(
            layer.standardized_weight().detach(), expected, rtol=0, atol=1e-15
        )
        with_eps_added = (w - mean) * gain / np.sqrt(27 * (var + 1e-5))
        difference = np.abs(with_eps_added / expected - 1).max()
        # Other implementations add 1e-5 to the variance: 5e-6 on weights of variance 1.
        assert difference < 1e-5 if std == 1.0 else difference > 0.05

    def test_grouped_and_depthwise_filters(self) -> None:
        layer = conv(8, 8, 3, groups=8)
        norms = layer.standardized_weight().detach().flatten(1).norm(dim=1)
        np.testing.assert_allclose(norms, layer.gain.detach().flatten(), rtol=1e-14)

    @pytest.mark.parametrize(
        ('kernel', 'stride', 'size', 'before', 'after'),
        [(3, 2, 8, 0, 1), (3, 2, 7, 1, 1), (3, 1, 5, 1, 1), (1, 2, 6, 0, 0), (7, 2, 8, 2, 3)],
    )
    def test_same_padding(
        self, kernel: int, stride: int, size: int, before: int, after: int
    ) -> None:
        layer, plain = conv(2, 3, kernel, stride, 'same'), conv(2, 3, kernel, stride)
        image = torch.randn(1, 2, size, 12, dtype=torch.float64)
        padded = torch.nn.functional.pad(image, (*layer._same_padding(image)[:2], before, after))
        assert torch.equal(layer(image), plain(padded))
        assert layer(image).shape[2:] == (-(-size // stride), -(-12 // stride))

    def test_serves_mmcvs_convolution_modules(self) -> None:
        mmcv = pytest.importorskip('mmcv.cnn')
        module = mmcv.ConvModule(
            4,
            6,
            3,
            padding=1,
            conv_cfg=dict(type='ScaledWSConv2d'),
            act_cfg=dict(type='GammaAct', act='silu'),
        )
        assert isinstance(module.conv, ScaledWSConv2d) and isinstance(module.activate, GammaAct)
        x = torch.randn(1, 4, 5, 5)
        expected = torch.nn.functional.silu(module.conv(x)) * 1.7881293296813965
        torch.testing.assert_close(module(x), expected)


class TestN2:
    @pytest.mark.parametrize('act', ['relu', 'gelu', 'silu'])
    def test_unit_variance_on_normal_input(self, act: str) -> None:
        x = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        assert GammaAct(act)(x).var().item() == pytest.approx(1.0, abs=1e-2)

    def test_another_activation_is_refused(self) -> None:
        with pytest.raises(ValueError, match="act is 'tanh'; allowed is one of relu, gelu, silu"):
            GammaAct('tanh')

    def test_is_registered(self) -> None:
        assert isinstance(MODELS.build(dict(type='GammaAct', act='gelu')), GammaAct)


class TestN3:
    def test_variances_of_nfnet_f0(self) -> None:
        at_blocks, at_ends = variances((1, 2, 6, 3), 0.2)
        expected = [[1.0], [1.04, 1.04], [1.08, 1.04, 1.08, 1.12, 1.16, 1.2], [1.24, 1.04, 1.08]]
        for found, wanted in zip(at_blocks, expected):
            assert found == pytest.approx(wanted, rel=1e-12)
        assert at_ends == pytest.approx([1.04, 1.08, 1.24, 1.12], rel=1e-12)

    @pytest.mark.parametrize('act', ['relu', 'gelu'])
    @pytest.mark.parametrize('se_ratio', [0.0, 0.5])
    def test_a_new_block_is_its_shortcut(self, act: str, se_ratio: float) -> None:
        shape = BlockShape((('conv1', 1, 4, 1), ('conv2', 3, 8, 2)), 'conv2', se_ratio, same=True)
        x = torch.randn(2, 8, 6, 7)
        block = NormFreeBlock(8, shape, 1, 1.08, 0.2, act, 0.0)
        assert torch.equal(block(x), x)
        transition = NormFreeBlock(8, shape, 2, 1.08, 0.2, act, 0.0)
        pooled = torch.nn.functional.avg_pool2d(
            block.act(x) / 1.08**0.5, 2, ceil_mode=True, count_include_pad=False
        )
        expected = transition.downsample.conv(pooled)
        torch.testing.assert_close(transition(x), expected, rtol=1e-6, atol=1e-6)

    def test_the_branch_is_scaled_by_alpha_and_the_gain(self) -> None:
        shape = BlockShape((('conv1', 1, 4, 1), ('conv2', 3, 8, 1)), 'conv2')
        block = NormFreeBlock(8, shape, 1, 1.16, 0.2, 'relu', 0.0).double()
        torch.nn.init.constant_(block.skipinit_gain, 0.5)
        x = torch.randn(2, 8, 6, 7, dtype=torch.float64)
        act = block.act
        branch = block.conv2(act(block.conv1(act(x) / 1.16**0.5)))
        torch.testing.assert_close(block(x), x + 0.2 * 0.5 * branch)

    def test_variance_grows_as_expected(self) -> None:
        torch.manual_seed(0)
        shape = BlockShape((('conv1', 1, 256, 1), ('conv2', 1, 512, 1)), 'conv1')
        h = torch.randn(1, 512, 40, 40)
        at_blocks, (at_end,) = variances((7,), 0.2)
        with torch.no_grad():
            for variance in at_blocks[0][:1] + at_blocks[0][2:]:  # no transition here
                block = NormFreeBlock(512, shape, 1, variance, 0.2, 'relu', 0.0)
                torch.nn.init.ones_(block.skipinit_gain)
                h = block(h)
        assert h.var().item() == pytest.approx(at_end - 0.04, rel=0.02)

    def test_squeeze_excite_is_neutral_at_half_open_gates(self) -> None:
        layer = SqueezeExcite(8, 0.5)
        assert layer.fc1.out_channels == 4
        torch.nn.init.zeros_(layer.fc2.weight)
        torch.nn.init.zeros_(layer.fc2.bias)
        x = torch.randn(2, 8, 3, 3)
        torch.testing.assert_close(layer(x), x)

    def test_stochastic_depth_drops_whole_images_and_keeps_the_mean(self) -> None:
        torch.manual_seed(0)
        layer = StochasticDepth(0.25)
        out = layer(torch.ones(20_000, 2, 1, 1, dtype=torch.float64))
        assert set(out.unique().tolist()) == {0.0, 1 / 0.75}
        assert torch.equal(out[:, 0], out[:, 1])
        assert out.mean().item() == pytest.approx(1.0, abs=0.01)
        assert torch.equal(layer.eval()(out), out)
