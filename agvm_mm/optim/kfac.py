"""K-FAC as a part of the optimizer wrapper."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch.distributed as dist
from mmengine.logging import MessageHub, print_log
from torch import nn
from torch.optim import Optimizer

from ..gradients import ProcessGroupCommunicator, SingleProcess
from ..kfac import KFAC, KFACSettings, describe, scalars
from ..kfac.settings import WHERE
from ..statistics import ModulePartition
from .binding import data_parallel, module_names, require_optimized, unwrapped


class KFACPart:
    """Binds :class:`agvm_mm.kfac.KFAC` to the model that MMEngine hands over.

    Args:
        values: the ``kfac`` keys of a config.
        optimizer: whose learning rates the KL clip uses.
    """

    def __init__(self, values: Mapping[str, Any], optimizer: Optimizer) -> None:
        self.settings = KFACSettings.from_dict(values)
        self._optimizer = optimizer
        self._kfac: KFAC | None = None
        self._pending: dict[str, Any] | None = None
        self._model: nn.Module | None = None
        self._message_hub: MessageHub | None = None
        self._module_of: dict[int, str] = {}
        self._listed: set[str] = set()

    @property
    def kfac(self) -> KFAC:
        """The preconditioner.

        Raises:
            RuntimeError: the model was not seen yet.
        """
        if self._kfac is None:
            raise RuntimeError(
                'K-FAC has not seen the model: run the forward pass inside '
                "`with optim_wrapper.optim_context(model)`, as MMEngine's runners do."
            )
        return self._kfac

    def begin(
        self,
        model: nn.Module,
        updates: int,
        message_hub: MessageHub,
        partition: ModulePartition | None = None,
    ) -> None:
        """Bind to ``model``; again where a runner resumes later.

        Args:
            model: as the runner holds it.
            updates: optimizer updates already made.
            message_hub: where the scalars are logged.
            partition: AGVM's modules; None for the model's top-level children.

        Raises:
            ValueError: the set-up can't work.
        """
        if self._kfac is None:
            network = unwrapped(model)
            self._require_usable(model, network)
            group = data_parallel(model, 'K-FAC', WHERE)
            # A group of its own: its collectives run beside those of the data-parallel wrapper.
            communicator = (
                SingleProcess()
                if group is None
                else ProcessGroupCommunicator(dist.new_group(dist.get_process_group_ranks(group)))
            )
            self._kfac = KFAC(network, self.settings, communicator, updates)
            self._model, self._message_hub = model, message_hub
            self._module_of = module_names(network, partition)
            self._listed = set(self._kfac.left)
            print_log(describe(self._kfac), logger='current')
        elif not self._kfac.measured:
            self._kfac.resume(updates)
        self._restore()

    def capture(
        self, index: int, count: int, images: int, loss_scale: float
    ) -> AbstractContextManager[None]:
        """Around one backward pass.

        Raises:
            RuntimeError: the model does not tell how many images it received.
            ValueError: the model was compiled after it was bound.
        """
        kfac = self.kfac
        if self._model is not None:  # MMEngine compiles between the first sight and the first step
            _require_uncompiled(self._model)
            self._model = None
        if not kfac.due:
            return nullcontext()
        if images < 1:
            raise RuntimeError(
                'K-FAC needs the number of images of a batch and the data preprocessor of this '
                "model does not show it: its argument has to hold them under 'inputs', as a list "
                'or a tensor.'
            )
        return kfac.capture(index, count, images, loss_scale)

    @contextmanager
    def around_step(self, loss_scale: float) -> Iterator[None]:
        """Precondition the gradients before a step, and count it afterwards."""
        kfac = self.kfac
        rates = {
            id(parameter): float(group['lr'])
            for group in self._optimizer.param_groups
            for parameter in group['params']
        }
        skipped = kfac.skipped
        if kfac.step(rates, loss_scale):
            assert self._message_hub is not None
            for name, value in scalars(kfac, self._module_of).items():
                self._message_hub.update_scalar(f'train/kfac/{name}', value)
            self._list_uncalled(kfac)
        if kfac.skipped == 1 and skipped == 0:
            print_log(
                f'K-FAC: factors were not finite at update {kfac.update}; they stay as they were, '
                'on all ranks. Said once; the checkpoint counts them.',
                logger='current',
                level=logging.WARNING,
            )
        yield
        kfac.advance()

    def _list_uncalled(self, kfac: KFAC) -> None:
        new = sorted(kfac.left.keys() - self._listed)
        self._listed.update(new)
        if new:
            print_log(
                f'K-FAC: {len(new)} tensors keep their gradient, {kfac.left[new[0]]}: '
                f'{", ".join(new[:4])}{" ..." if len(new) > 4 else "."}',
                logger='current',
                level=logging.WARNING,
            )

    def gather(self) -> None:
        """Bring all factors to rank 0, on all ranks just before a checkpoint is written."""
        self.kfac.gather()

    def release(self) -> None:
        """Let go of what :meth:`gather` has brought, after the checkpoint was written."""
        self.kfac.release()

    def state_dict(self) -> dict[str, Any] | None:
        """For the checkpoint; without the factors if other ranks hold some and none gathered."""
        return self._pending if self._kfac is None else self._kfac.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Inverse of :meth:`state_dict`."""
        self._pending = state
        if self._kfac is not None:
            self._restore()

    def _restore(self) -> None:
        if self._pending is None:
            return
        if not self.kfac.load_state_dict(self._pending):
            print_log(
                'K-FAC: the checkpoint holds no factors; they are measured at the next update. '
                "custom_hooks=[dict(type='KFACStateHook')] keeps them in checkpoints.",
                logger='current',
                level=logging.WARNING,
            )
        self._pending = None

    def _require_usable(self, model: nn.Module, network: nn.Module) -> None:
        _require_uncompiled(model)
        if not isinstance(getattr(network, 'data_preprocessor', None), nn.Module):
            raise ValueError(
                f'{type(network).__name__} has no data_preprocessor, at which K-FAC counts the '
                "images of a batch; derive it from mmengine's BaseModel, or set "
                f'{WHERE}=None.'
            )
        trainable = ((name, p) for name, p in network.named_parameters() if p.requires_grad)
        require_optimized(trainable, self._optimizer, 'K-FAC')


def _require_uncompiled(model: nn.Module) -> None:
    modules = (model, *model.modules())
    methods = [getattr(m, name, None) for m in modules for name in ('forward', 'train_step')]
    if any(hasattr(module, '_orig_mod') for module in modules) or any(
        hasattr(method, '_torchdynamo_orig_callable') for method in methods
    ):
        raise ValueError(
            'the model is compiled, and torch.compile leaves out the hooks on layers that K-FAC '
            f'measures with; train without compile, or set {WHERE}=None.'
        )


__all__ = ['KFACPart']
