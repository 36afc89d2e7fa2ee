"""What NFNet and NF-ResNet have in common as backbones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .block import BlockShape, NormFreeBlock, variances
from .gamma_act import GammaAct


class NormFreeBackbone(BaseModule):
    """A stem and four stages of residual blocks without normalisation.

    The features it returns are activated and scaled to the variance that a normalised backbone's
    have, so that FPN and heads need no change. There are no batch statistics: nothing depends on
    other images of a batch or on other ranks, and accumulated gradients are those of the batch.

    Args:
        stem: from images to the first stage, a quarter of the size.
        stem_channels: channels of the stem's output.
        depths: blocks of the four stages.
        shapes: of the blocks of each stage.
        act: 'relu', 'gelu' or 'silu'.
        alpha: gain of the residual branches.
        drop_path_rate: of stochastic depth, in [0, 1): rises linearly from 0 at the first block
            and reaches it at the last.
        out_indices: stages whose features are returned.
        frozen_stages: -1 freezes nothing, 0 the stem, n the stem and n stages.
        with_cp: recompute the stages in the backward pass to save memory.
        init_cfg: of :class:`mmengine.model.BaseModule`, such as ``dict(type='Pretrained',
            checkpoint=...)`` with the parameters' own names; see :func:`from_timm`.

    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(
        self,
        stem: nn.Module,
        stem_channels: int,
        depths: Sequence[int],
        shapes: Sequence[BlockShape],
        act: str,
        alpha: float = 0.2,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        self._check(out_indices, frozen_stages, drop_path_rate)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp
        at_blocks, at_ends = variances(depths, alpha)
        self.stem = stem
        self.stages = nn.ModuleList()
        channels, last = stem_channels, max(sum(depths) - 1, 1)
        firsts = [0, *accumulate(depths)]
        for i, (shape, stage) in enumerate(zip(shapes, at_blocks)):
            blocks = []
            for j, variance in enumerate(stage):
                stride = 2 if i > 0 and j == 0 else 1
                rate = drop_path_rate * (firsts[i] + j) / last
                blocks.append(NormFreeBlock(channels, shape, stride, variance, alpha, act, rate))
                channels = shape.out_channels
            self.stages.append(nn.Sequential(*blocks))
        self.final_act = GammaAct(act)
        self.out_scales = [variance**-0.5 for variance in at_ends]
        self.out_channels = [shapes[i].out_channels for i in self.out_indices]
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (n, 3, h, w) to features of strides 4, 8, 16, 32, those of ``out_indices``."""
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages[: max(self.out_indices) + 1]):
            x = self._run(stage, x)
            if i in self.out_indices:
                outs.append(self.final_act(x) * self.out_scales[i])
        return tuple(outs)

    def train(self, mode: bool = True) -> NormFreeBackbone:
        """Frozen stages stay in evaluation: no stochastic depth."""
        super().train(mode)
        self._freeze()
        return self

    def _run(self, stage: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if self.with_cp and self.training:
            kept: Tensor = checkpoint(stage, x, use_reentrant=False)
            return kept
        return stage(x)

    def _freeze(self) -> None:
        frozen = [self.stem, *self.stages][: self.frozen_stages + 1]
        for part in frozen:
            part.eval()
            part.requires_grad_(False)

    def _check(self, out_indices: Sequence[int], frozen_stages: int, rate: float) -> None:
        name = type(self).__name__
        ordered = sorted(set(out_indices)) == list(out_indices)
        if not out_indices or not ordered or not set(out_indices) <= {0, 1, 2, 3}:
            raise ValueError(
                f'{name}.out_indices is {out_indices!r}; allowed are stages from 0 to 3, rising.'
            )
        if frozen_stages not in range(-1, 5):
            raise ValueError(
                f'{name}.frozen_stages is {frozen_stages!r}; allowed is -1 (none), 0 (the stem) to '
                '4 (all).'
            )
        if not 0.0 <= rate < 1.0:
            raise ValueError(f'{name}.drop_path_rate is {rate!r}; allowed is a number in [0, 1).')
