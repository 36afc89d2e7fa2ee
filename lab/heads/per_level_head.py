"""RetinaNet's head with weights of its own for every level of the FPN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models.dense_heads import RetinaHead
from mmengine.model import bias_init_with_prob
from mmengine.registry import MODELS
from torch import Tensor, nn

PARTS = ('cls_convs', 'reg_convs', 'retina_cls', 'retina_reg')


@MODELS.register_module()
class PerLevelRetinaHead(RetinaHead):
    """Every level's features go through convolutions that no other level uses.

    With L levels it has L times the parameters of :class:`mmdet.models.RetinaHead`, of the same
    shapes; with one level it is that head. Arguments are those of RetinaHead, but for ``init_cfg``,
    which is fixed to its default.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs['init_cfg'] = dict(type='Normal', layer='Conv2d', std=0.01)
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        levels = []
        for _ in range(self.prior_generator.num_levels):
            super()._init_layers()
            levels.append(nn.ModuleDict({name: self._modules.pop(name) for name in PARTS}))
        self.levels = nn.ModuleList(levels)

    def init_weights(self) -> None:
        """As RetinaHead: every class starts at a probability of 1 %."""
        super().init_weights()
        for level in self.levels:
            self._start_rare(level)

    @staticmethod
    def _start_rare(level: Any) -> None:
        nn.init.constant_(level['retina_cls'].bias, bias_init_with_prob(0.01))

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Class scores (B, A C, H_l, W_l) and box deltas (B, A 4, H_l, W_l) of every level."""
        outputs = [self.forward_level(*pair) for pair in zip(x, self.levels)]
        scores, deltas = zip(*outputs)
        return list(scores), list(deltas)

    def forward_level(self, x: Tensor, level: Any) -> tuple[Tensor, Tensor]:
        """One level through its own convolutions."""
        scores = deltas = x
        for conv in level['cls_convs']:
            scores = conv(scores)
        for conv in level['reg_convs']:
            deltas = conv(deltas)
        return level['retina_cls'](scores), level['retina_reg'](deltas)
