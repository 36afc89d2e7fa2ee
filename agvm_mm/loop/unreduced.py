"""Parameters whose gradients no data-parallel wrapper averages."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from .binding import uncompiled


class UnreducedParameters:
    """Refuses parameters that were thawed after ``DistributedDataParallel`` was built.

    The wrapper averages only the gradients of parameters that were trainable when it was built. A
    parameter that is thawed later steps with each rank's own gradient, and the ranks drift apart.

    Args:
        model: as the runner holds it; without a wrapper or on one rank nothing is refused.
    """

    def __init__(self, model: nn.Module) -> None:
        wrapper = uncompiled(model)
        self._named: dict[str, nn.Parameter] = {}
        if not isinstance(wrapper, DistributedDataParallel) or not hasattr(wrapper, 'reducer'):
            return  # MMSeparateDistributedDataParallel has the base class alone
        if wrapper.process_group.size() > 1:
            reduced = _reduced(wrapper)
            self._named = {
                name: parameter
                for name, parameter in wrapper.module.named_parameters()
                if id(parameter) not in reduced and name not in wrapper.parameters_to_ignore
            }

    def require_none_stepped(self, optimizer: Optimizer) -> None:
        """Refuse a step with a gradient that the ranks do not share.

        Raises:
            RuntimeError: names the parameter.
        """
        for name, parameter in self._named.items():
            if parameter.grad is not None and _is_in(optimizer, parameter):
                raise RuntimeError(
                    f'the parameter {name!r} was frozen when the model was wrapped in '
                    'DistributedDataParallel, which does not average its gradient, so the ranks '
                    'would drift apart; thaw it before the runner is built, or build the model '
                    'with it trainable and freeze it in a hook until it should train.'
                )


def _reduced(wrapper: DistributedDataParallel) -> set[int]:
    """By ``id``, the parameters in the buckets of the wrapper."""
    buckets = wrapper.reducer._get_zeros_like_grad_buckets()  # no public call tells the parameters
    return {id(parameter) for bucket in buckets for parameter in bucket.parameters()}


def _is_in(optimizer: Optimizer, parameter: nn.Parameter) -> bool:
    return any(parameter is p for group in optimizer.param_groups for p in group['params'])
