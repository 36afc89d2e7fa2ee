"""NFNet and NF-ResNet as backbones."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS

import agvm_mm  # noqa: F401
from agvm_mm.models.nfnet import NFNet, NFResNet, from_timm
from agvm_mm.models.nfnet.gamma_act import GAMMA
from agvm_mm.models.nfnet.nfnet import VARIANTS


def small(depth: int = 26, **kwargs: Any) -> NFResNet:
    torch.manual_seed(0)
    return NFResNet(depth, base_channels=8, **kwargs)


def wake(model: torch.nn.Module) -> None:
    """Give every block its branch."""
    for name, p in model.named_parameters():
        if name.endswith('skipinit_gain'):
            torch.nn.init.constant_(p, 1.0)


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


class TestShapes:
    @pytest.mark.parametrize('depth', [18, 26, 50, 101])
    def test_strides_and_channels(self, depth: int) -> None:
        model = small(depth)
        outs = model(torch.randn(1, 3, 64, 96))
        widths = [8 * 2**i * (1 if depth == 18 else 4) for i in range(4)]
        assert [out.shape[1] for out in outs] == widths == model.out_channels
        assert [out.shape[2:] for out in outs] == [(64 // s, 96 // s) for s in (4, 8, 16, 32)]

    def test_blocks_and_channels_of_the_50_and_101_layers(self) -> None:
        for depth, blocks in ((50, [3, 4, 6, 3]), (101, [3, 4, 23, 3])):
            with torch.device('meta'):
                model = MODELS.build(dict(type='NFResNet', depth=depth))
            assert [len(stage) for stage in model.stages] == blocks
            assert model.out_channels == [256, 512, 1024, 2048]
            block = model.stages[1][0]
            widths = [block.get_submodule(name).out_channels for name in block.conv_names]
            assert widths == [128, 128, 512]
            assert block.conv2.stride == (2, 2) and block.downsample.conv.kernel_size == (1, 1)

    @pytest.mark.parametrize('variant', list(VARIANTS))
    def test_nfnet_variants(self, variant: str) -> None:
        with torch.device('meta'):
            model = MODELS.build(dict(type='NFNet', variant=variant))
        times = int(variant[1]) + 1
        assert [len(stage) for stage in model.stages] == [times, 2 * times, 6 * times, 3 * times]
        assert model.out_channels == [256, 512, 1536, 1536]
        block = model.stages[2][0]
        inner = [block.get_submodule(name) for name in block.conv_names]
        assert [layer.out_channels for layer in inner] == [768, 768, 768, 1536]
        assert [layer.groups for layer in inner] == [1, 6, 6, 1]
        assert block.attn_last.fc1.out_channels == 768

    def test_parameters_of_nfnet_f0(self) -> None:
        """71.5 million published, 4.7 of them in the last convolution, 3.1 in the classifier."""
        with torch.device('meta'):
            backbone = count(NFNet('F0'))
        final = 1536 * 3072 + 2 * 3072
        assert (backbone + final + 3072 * 1000 + 1000) / 1e6 == pytest.approx(71.5, abs=0.05)

    def test_nfnet_forward_odd_sizes(self) -> None:
        with torch.no_grad():
            outs = NFNet('F0', out_indices=(0, 2))(torch.randn(1, 3, 65, 33))
        assert [tuple(out.shape) for out in outs] == [(1, 256, 17, 9), (1, 1536, 5, 3)]


def test_features_are_activated_and_scaled_by_the_variance_of_their_stage() -> None:
    model = small()
    wake(model)
    ends: list[torch.Tensor] = []
    for stage in model.stages:
        stage.register_forward_hook(lambda module, args, out: ends.append(out))
    outs = model(torch.randn(2, 3, 64, 64))
    for end, out in zip(ends, outs):
        expected = end.relu() * 1.7139588594436646 / 1.08**0.5
        torch.testing.assert_close(out, expected)


class TestN4:
    @pytest.mark.parametrize('model', ['NFResNet', 'NFNet'])
    def test_an_image_does_not_see_the_others(self, model: str) -> None:
        net = small() if model == 'NFResNet' else NFNet('F0', out_indices=(0, 1))
        wake(net)
        net.double().train()
        images = torch.randn(3, 3, 64, 64, dtype=torch.float64)
        with torch.no_grad():
            together, alone = net(images), net(images[1:2])
        for batch, single in zip(together, alone):
            torch.testing.assert_close(batch[1:2], single, rtol=0, atol=1e-12)
        assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in net.modules())
        assert not list(net.buffers())


class TestOptions:
    def test_checkpointing_changes_nothing(self) -> None:
        gradients = []
        for with_cp in (False, True):
            model = small(with_cp=with_cp, drop_path_rate=0.5)
            wake(model)
            torch.manual_seed(7)
            sum(out.square().mean() for out in model(torch.ones(2, 3, 64, 64))).backward()
            gradients.append([p.grad for p in model.parameters()])
        assert all(map(torch.equal, *gradients))

    def test_frozen_stages(self) -> None:
        model = small(frozen_stages=2, drop_path_rate=0.5).train()
        for name, p in model.named_parameters():
            frozen = name.startswith(('stem', 'stages.0', 'stages.1'))
            assert p.requires_grad != frozen, name
        assert not model.stages[1].training and model.stages[2].training
        assert all(p.requires_grad for p in small().parameters())

    def test_out_indices_leave_later_stages_out(self) -> None:
        model = small(out_indices=(1, 2))
        outs = model(torch.randn(1, 3, 64, 64))
        assert len(outs) == 2 and model.out_channels == [64, 128]

    def test_drop_path_rises_to_its_rate(self) -> None:
        rates = [b.drop_path.rate for s in small(18, drop_path_rate=0.7).stages for b in s]
        assert rates == pytest.approx([0.1 * i for i in range(8)])

    @pytest.mark.parametrize(
        ('build', 'sentence'),
        [
            (lambda: NFResNet(34), 'NFResNet.depth is 34; allowed is one of 18, 26, 50, 101'),
            (lambda: NFNet('F9'), "NFNet.variant is 'F9'; allowed is one of F0, F1"),
            (lambda: small(out_indices=(4,)), r'NFResNet.out_indices is \(4,\); allowed'),
            (lambda: small(frozen_stages=7), 'NFResNet.frozen_stages is 7; allowed is -1'),
            (lambda: small(drop_path_rate=1.0), r'drop_path_rate is 1\.0; allowed'),
        ],
    )
    def test_refusals(self, build: Any, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            build()


class TestWeights:
    def test_the_authors_weights_keep_their_names(self) -> None:
        model = small()
        state = {**model.state_dict(), 'final_conv.weight': torch.zeros(1), 'head.fc.bias': None}
        assert from_timm(state).keys() == model.state_dict().keys()

    def test_gamma_in_the_convolutions_is_moved_to_the_activations(self, tmp_path: Any) -> None:
        """A network that scales its convolutions' outputs, as timm's nf_resnet, gives the same."""
        model = small()
        wake(model)
        state = {
            name: value.clone()
            for name, value in model.state_dict().items()
            if not name.endswith('skipinit_gain')
        }
        theirs = small()
        theirs.load_state_dict(state, strict=False)
        wake(theirs)
        for layer in theirs.modules():
            if hasattr(layer, 'gain'):
                layer.gain.data.mul_(GAMMA['relu'])
        relu = torch.nn.functional.relu
        images = torch.randn(1, 3, 64, 64)
        with pytest.MonkeyPatch.context() as patch, torch.no_grad():
            patch.setattr('agvm_mm.models.nfnet.GammaAct.forward', lambda self, x: relu(x))
            expected = theirs(images)
        torch.save(from_timm(state), tmp_path / 'nf.pth')
        ours = small(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'nf.pth')))
        ours.init_weights()
        for a, b in zip(ours(images), expected):
            torch.testing.assert_close(a, b * GAMMA['relu'], rtol=1e-4, atol=1e-4)


def test_needs_neither_mmcv_nor_mmdet() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('mmcv', 'mmdet', 'mmseg'))); "
        'import agvm_mm.models, torch; from mmengine.registry import MODELS; '
        "net = MODELS.build(dict(type='NFResNet', depth=18, base_channels=8)); "
        'print(len(net(torch.zeros(1, 3, 32, 32))))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith('4')
