"""NF-ResNet: ResNet without normalisation."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from mmengine.registry import MODELS
from torch import nn

from .backbone import NormFreeBackbone
from .block import BlockShape
from .scaled_conv import ScaledWSConv2d

DEPTHS = {
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}


@MODELS.register_module()
class NFResNet(NormFreeBackbone):
    """NF-ResNet with bottleneck blocks; features of strides 4, 8, 16 and 32.

    Channels are those of ResNet of the same depth: 256, 512, 1024, 2048 for depths 26, 50 and 101.
    Depth 18 has two 3x3 convolutions a block and the channels 64, 128, 256, 512, as ResNet-18; the
    authors have no such network, it is the same rules on its blocks.

    Args:
        depth: 18, 26, 50 or 101.
        base_channels: channels of the stem, 64 in ResNet; the stages' are multiples of it.
        **kwargs: of :class:`.backbone.NormFreeBackbone`.

    Raises:
        ValueError: an argument is outside its range.

    References:
        arXiv:2101.08692; channels and stem of the 50 and 101 layers as in the authors' code.
    """

    def __init__(self, depth: int, base_channels: int = 64, **kwargs: Any) -> None:
        if depth not in DEPTHS:
            allowed = ', '.join(map(str, DEPTHS))
            raise ValueError(f'NFResNet.depth is {depth!r}; allowed is one of {allowed}.')
        make = _basic if depth == 18 else _bottleneck
        stem = nn.Sequential(
            OrderedDict(
                conv=ScaledWSConv2d(3, base_channels, 7, 2, 3),
                pool=nn.MaxPool2d(3, 2, 1),
            )
        )
        super().__init__(
            stem=stem,
            stem_channels=base_channels,
            depths=DEPTHS[depth],
            shapes=[make(base_channels * 2**stage) for stage in range(4)],
            act='relu',
            **kwargs,
        )


def _basic(width: int) -> BlockShape:
    return BlockShape((('conv1', 3, width, 1), ('conv2', 3, width, 1)), strided='conv1')


def _bottleneck(width: int) -> BlockShape:
    convs = (('conv1', 1, width, 1), ('conv2', 3, width, 1), ('conv3', 1, 4 * width, 1))
    return BlockShape(convs, strided='conv2')
