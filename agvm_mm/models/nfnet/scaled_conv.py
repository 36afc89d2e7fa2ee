"""Convolution with scaled weight standardisation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from mmengine.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ScaledWSConv2d(nn.Conv2d):
    r"""Convolution whose filters have mean 0 and, up to a learned gain per output, norm 1.

    .. math:: \hat W = g \, \frac{W - \mu}{\sqrt{\max(n \sigma^2, \epsilon)}}

    with mean and (biased) variance over the n weights of one output. It preserves the variance of
    independent inputs of variance 1, which makes normalisation layers dispensable. As
    ``conv_cfg=dict(type='ScaledWSConv2d')`` it serves the necks and heads of MMDetection and
    MMSegmentation too.

    Args:
        *args: of :class:`torch.nn.Conv2d`, as are ``kwargs``.
        eps: floor below n times the variance.
        padding: as in torch; 'same' pads so that the output has ceil(size / stride) pixels, for
            strides above 1 too and then one more at the end than at the start, as in TensorFlow.
        **kwargs: see ``args``.

    References:
        Brock, De, Smith, "Characterizing signal propagation to close the performance gap in
        unnormalized ResNets", ICLR 2021, arXiv:2101.08692, section 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        *args: Any,
        eps: float = 1e-4,
        **kwargs: Any,
    ) -> None:
        self.same = padding == 'same'
        given = 0 if self.same else padding
        super().__init__(in_channels, out_channels, kernel_size, stride, given, *args, **kwargs)
        self.gain = nn.Parameter(torch.ones(out_channels, 1, 1, 1))
        self.eps = eps

    def reset_parameters(self) -> None:
        """Filters of expected norm 1, biases 0."""
        nn.init.kaiming_normal_(self.weight, nonlinearity='linear')
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def scale(self) -> Tensor:
        """What the centred filters are multiplied by, (outputs, 1, 1, 1)."""
        variance = torch.var(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)
        inputs = self.weight[0].numel()
        return self.gain * (variance * inputs).clamp(min=self.eps).rsqrt()

    def standardized_weight(self) -> Tensor:
        """The filters in use, shape of ``weight``."""
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return (self.weight - mean) * self.scale()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the standardized weight."""
        padded = F.pad(x, self._same_padding(x)) if self.same else x
        out: Tensor = self._conv_forward(padded, self.standardized_weight(), self.bias)
        return out

    def _same_padding(self, x: Tensor) -> list[int]:
        """Left, right, top and bottom pixels to add."""
        padding: list[int] = []
        for axis in (1, 0):
            size, stride = x.shape[2 + axis], self.stride[axis]
            span = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
            padding += [total // 2, total - total // 2]
        return padding
