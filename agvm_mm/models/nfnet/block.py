"""The residual block that both networks without normalisation are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from .gamma_act import GammaAct
from .scaled_conv import ScaledWSConv2d


@dataclass(frozen=True)
class BlockShape:
    """Convolutions of a residual branch.

    Args:
        convs: name, kernel size, channels and groups of each, from input to output.
        strided: name of the one that takes the stride.
        se_ratio: hidden over outer channels of squeeze-and-excitation; 0 for none.
        same: TensorFlow's padding.
    """

    convs: tuple[tuple[str, int, int, int], ...]
    strided: str
    se_ratio: float = 0.0
    same: bool = False

    @property
    def out_channels(self) -> int:
        """Channels of the block."""
        return self.convs[-1][2]


class SqueezeExcite(nn.Module):
    """``2 * sigmoid(fc2(relu(fc1(mean(x))))) * x``; the 2 makes up for the mean of the gate."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        hidden = max(1, int(channels * ratio))
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape of ``x``."""
        gate: Tensor = self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return 2 * gate * x


class StochasticDepth(nn.Module):
    """Drops the branch of an image with probability ``rate``, and scales the kept ones up."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Shape of ``x``, (images, ...)."""
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.empty((len(x), *[1] * (x.ndim - 1)), dtype=x.dtype, device=x.device)
        return x * kept.bernoulli_(1 - self.rate) / (1 - self.rate)


class Shortcut(nn.Module):
    """Average pooling over the stride, then a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        pool = partial(nn.AvgPool2d, 2, 2, ceil_mode=True, count_include_pad=False)
        self.pool = pool() if stride == 2 else nn.Identity()
        self.conv = ScaledWSConv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (images, in_channels, h, w) to (images, out_channels, h', w')."""
        shortcut: Tensor = self.conv(self.pool(x))
        return shortcut


class NormFreeBlock(nn.Module):
    r"""Pre-activation residual block of known variance.

    .. math:: h_{i+1} = s(h_i) + \alpha\, \zeta\, f(\beta_i\, act(h_i)),\quad
              \beta_i = 1 / \sqrt{Var(h_i)}

    The skip gain zeta starts at 0. The shortcut s is the identity, or a pooling and a 1x1
    convolution of the scaled activation where shapes change.

    Args:
        in_channels: channels of h_i.
        shape: of the branch f.
        stride: 1 or 2.
        variance: expected variance of h_i.
        alpha: gain of the branch.
        act: activation of :class:`GammaAct`.
        drop_rate: of stochastic depth.

    References:
        arXiv:2101.08692, section 3; the skip gain: arXiv:2002.10444; the block of NFNet with two
        3x3 convolutions: arXiv:2102.06171, section 4.2.
    """

    def __init__(
        self,
        in_channels: int,
        shape: BlockShape,
        stride: int,
        variance: float,
        alpha: float,
        act: str,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, variance**-0.5
        self.act = GammaAct(act)
        changes = stride != 1 or in_channels != shape.out_channels
        self.downsample = Shortcut(in_channels, shape.out_channels, stride) if changes else None
        self.conv_names = [name for name, *_ in shape.convs]
        channels = in_channels
        for name, kernel, width, groups in shape.convs:
            step = stride if name == shape.strided else 1
            padding = 'same' if shape.same else kernel // 2
            self.add_module(
                name,
                ScaledWSConv2d(channels, width, kernel, step, padding, groups=groups),
            )
            channels = width
        self.attn_last = SqueezeExcite(channels, shape.se_ratio) if shape.se_ratio else None
        self.drop_path = StochasticDepth(drop_rate)
        self.skipinit_gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (images, in_channels, h, w) to (images, out_channels, h / stride, w / stride)."""
        out = self.act(x) * self.beta
        shortcut = x if self.downsample is None else self.downsample(out)
        for name in self.conv_names:
            out = self.get_submodule(name)(out if name == self.conv_names[0] else self.act(out))
        if self.attn_last is not None:
            out = self.attn_last(out)
        h: Tensor = shortcut + self.drop_path(out) * (self.skipinit_gain * self.alpha)
        return h


def variances(depths: Sequence[int], alpha: float) -> tuple[list[list[float]], list[float]]:
    """Expected variance at every block's input, and at the end of every stage.

    A transition block starts anew from 1, as its shortcut is an unscaled convolution.
    """
    at_blocks: list[list[float]] = []
    at_ends: list[float] = []
    variance = 1.0
    for depth in depths:
        stage = []
        for block in range(depth):
            stage.append(variance)
            variance = (1.0 if block == 0 else variance) + alpha**2
        at_blocks.append(stage)
        at_ends.append(variance)
    return at_blocks, at_ends
