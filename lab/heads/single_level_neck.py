"""A neck of one level: what the FPN has for it, without the path from the top."""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class SingleLevelNeck(BaseModule):
    """Takes one of the backbone's maps through a 1 x 1 and a 3 x 3 convolution.

    Both have the shapes of the FPN's lateral and output convolution of the same map.

    Args:
        in_channels: of all maps of the backbone.
        out_channels: of the one map that comes out.
        level: index of the map that is used.
        init_cfg: as in mmdet's FPN.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        level: int = -1,
        init_cfg: dict[str, object] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        if not -len(in_channels) <= level < len(in_channels):
            raise ValueError(
                f'neck.level is {level}; allowed is an index of the {len(in_channels)} maps in '
                'neck.in_channels.'
            )
        self.level = level
        self.lateral_conv = ConvModule(in_channels[level], out_channels, 1, act_cfg=None)
        self.output_conv = ConvModule(out_channels, out_channels, 3, padding=1, act_cfg=None)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """From (B, C_l, H_l, W_l) of all levels to (B, out_channels, H, W) of one."""
        return (self.output_conv(self.lateral_conv(inputs[self.level])),)
