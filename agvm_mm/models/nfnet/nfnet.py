"""NFNet-F0 to F6."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from mmengine.registry import MODELS
from torch import nn

from .backbone import NormFreeBackbone
from .block import BlockShape
from .gamma_act import GammaAct
from .scaled_conv import ScaledWSConv2d

VARIANTS = {f'F{n}': n + 1 for n in range(7)}  # times the depths of F0
F0_DEPTHS = (1, 2, 6, 3)
WIDTHS = (256, 512, 1536, 1536)
GROUP_WIDTH = 128
STEM = ((16, 2), (32, 1), (64, 1), (128, 2))  # channels, stride


@MODELS.register_module()
class NFNet(NormFreeBackbone):
    """NFNet-F0 to F6; features of strides 4, 8, 16, 32 with 256, 512, 1536, 1536 channels.

    The last 1x1 convolution of the classification network, to 3072 channels, is left out.

    Args:
        variant: 'F0' to 'F6'.
        act: 'gelu', as the published weights were trained, 'relu' or 'silu'.
        **kwargs: of :class:`.backbone.NormFreeBackbone`. The authors train for classification with
            ``drop_path_rate=0.25``.

    Raises:
        ValueError: an argument is outside its range.

    References:
        arXiv:2102.06171, section 4.2.
    """

    def __init__(self, variant: str = 'F0', act: str = 'gelu', **kwargs: Any) -> None:
        if variant not in VARIANTS:
            allowed = ', '.join(VARIANTS)
            raise ValueError(f'NFNet.variant is {variant!r}; allowed is one of {allowed}.')
        super().__init__(
            stem=_stem(act),
            stem_channels=STEM[-1][0],
            depths=[VARIANTS[variant] * depth for depth in F0_DEPTHS],
            shapes=[_shape(width) for width in WIDTHS],
            act=act,
            **kwargs,
        )


def _stem(act: str) -> nn.Sequential:
    """Four convolutions with activations between them."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for i, (width, stride) in enumerate(STEM, 1):
        layers[f'conv{i}'] = ScaledWSConv2d(channels, width, 3, stride, 'same')
        if i < len(STEM):
            layers[f'act{i + 1}'] = GammaAct(act)
        channels = width
    return nn.Sequential(layers)


def _shape(width: int) -> BlockShape:
    """1x1, two grouped 3x3 and 1x1, half as wide inside."""
    inner = width // 2
    groups = inner // GROUP_WIDTH
    convs = (
        ('conv1', 1, inner, 1),
        ('conv2', 3, inner, groups),
        ('conv2b', 3, inner, groups),
        ('conv3', 1, width, 1),
    )
    return BlockShape(convs, strided='conv2', se_ratio=0.5, same=True)
