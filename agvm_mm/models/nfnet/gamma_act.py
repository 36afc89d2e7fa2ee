"""Activations that keep the variance of a normal input."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812
from mmengine.registry import MODELS
from torch import Tensor, nn

# 1 / (standard deviation of act(x)), x from N(0, 1), as the authors' code has it.
GAMMA = {
    'relu': 1.7139588594436646,
    'gelu': 1.7015043497085571,
    'silu': 1.7881293296813965,
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {'relu': F.relu, 'gelu': F.gelu, 'silu': F.silu}


@MODELS.register_module()
class GammaAct(nn.Module):
    """``gamma * act(x)``, of variance 1 for x from N(0, 1).

    In the heads and necks of MMDetection and MMSegmentation it is
    ``act_cfg=dict(type='GammaAct', act='relu')``.

    Args:
        act: 'relu', 'gelu' or 'silu'.
        inplace: accepted because mmcv sets it; the input is never changed.

    Raises:
        ValueError: another activation.
    """

    def __init__(self, act: str = 'relu', inplace: bool = False) -> None:
        super().__init__()
        if act not in GAMMA:
            raise ValueError(f'GammaAct.act is {act!r}; allowed is one of {", ".join(GAMMA)}.')
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Shape of ``x``."""
        return FUNCTIONS[self.act](x) * GAMMA[self.act]

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return self.act
