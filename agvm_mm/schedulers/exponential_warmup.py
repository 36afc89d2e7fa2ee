"""Exponential warm-up of the learning rate, the ``'exp'`` warm-up of mmcv 1.x."""

from __future__ import annotations

from typing import Any

from mmengine.optim import ExponentialLR
from mmengine.registry import PARAM_SCHEDULERS

UNSET_END = int(1e9)  # MMEngine's own sentinel for "no end given"


@PARAM_SCHEDULERS.register_module()
class ExponentialWarmupLR(ExponentialLR):
    """Raises the learning rate from ``ratio`` times its base value to the base value.

    ``lr(t) = base * ratio ** (1 - (t - begin) / (end - begin))``  for ``begin <= t <= end``

    ``t`` counts epochs or, with ``by_epoch=False``, iterations. At ``t = end`` the base value is
    reached, as in mmcv 1.x, and from there on the rate is left to the other schedulers. Each step
    multiplies the present rate, so that the schedule can be chained with any other of MMEngine.

    Args:
        optimizer: Optimizer or optimizer wrapper whose learning rates are scheduled.
        ratio: First learning rate over base learning rate, in (0, 1].
        begin: Step of the first, smallest learning rate.
        end: Step from which the base learning rate holds; ``end - begin`` is the length of the
            warm-up. Always give it: a Runner fills a missing ``end`` with the length of training.
        **kwargs: ``last_step``, ``by_epoch``, ``verbose`` of ``mmengine.optim.ExponentialLR``.

    Raises:
        ValueError: If ``ratio`` is outside (0, 1], or ``end`` is missing or not after ``begin``.

    References:
        ``get_warmup_lr`` of ``mmcv/runner/hooks/lr_updater.py``, mmcv 1.x.
    """

    def __init__(
        self,
        optimizer: Any,
        ratio: float,
        begin: int = 0,
        end: int = UNSET_END,
        **kwargs: Any,
    ) -> None:
        if not 0.0 < ratio <= 1.0:
            raise ValueError(
                f'ratio={ratio} of ExponentialWarmupLR must be above 0 and at most 1; '
                'set it in param_scheduler.'
            )
        if end == UNSET_END:
            raise ValueError(
                'ExponentialWarmupLR needs `end`, the step at which the warm-up reaches the base '
                'learning rate; set it in param_scheduler.'
            )
        if end <= begin:
            raise ValueError(
                f'end={end} of ExponentialWarmupLR must be larger than begin={begin}; '
                'set both in param_scheduler.'
            )
        self.ratio = ratio
        gamma = ratio ** (-1.0 / (end - begin))
        # MMEngine stops before `end`; one more step is needed to arrive at the base value.
        super().__init__(optimizer, gamma=gamma, begin=begin, end=end + 1, **kwargs)

    def _get_value(self) -> list[float]:
        """Computes the learning rate of every parameter group from its present one."""
        if self.last_step > 0:
            values: list[float] = super()._get_value()
            return values
        return [group['lr'] * self.ratio for group in self.optimizer.param_groups]
