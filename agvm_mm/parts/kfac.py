"""K-FAC as a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch.distributed as dist
from torch import nn

from ..distributed import ProcessGroupCommunicator, SingleProcess
from ..gradients import BlockPreconditioner
from ..kfac import KFAC, KFACSettings, from_state, gather, rescale_weights, to_state
from ..kfac.settings import WHERE
from ..statistics import ModulePartition
from .kfac_blocks import KFACBlocks
from .kfac_report import scalars, start
from .part import Part, Pass, Run


class KFACPart(Part):
    """Replaces the gradients by those that :class:`agvm_mm.kfac.KFAC` preconditions.

    Args:
        values: the keys of :class:`agvm_mm.kfac.KFACSettings`.

    Attributes:
        settings: the checked keys.
        preconditioner: once the part is bound.
    """

    key = 'kfac'
    title = 'K-FAC'
    where = WHERE
    needs_ranks = True

    preconditioner: KFAC

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.settings = KFACSettings.from_dict(values)
        self._gathered: dict[int, Any] | None = None

    def bind(self, run: Run) -> None:
        """See :class:`Part`."""
        _require_uncompiled(run.model)
        if not isinstance(getattr(run.network, 'data_preprocessor', None), nn.Module):
            raise ValueError(
                f'{type(run.network).__name__} has no data_preprocessor, at which K-FAC counts the '
                f"images of a batch; derive it from mmengine's BaseModel, or set {WHERE}=None."
            )
        # A group of its own: its collectives run beside those of the data-parallel wrapper.
        communicator = (
            SingleProcess()
            if run.group is None
            else ProcessGroupCommunicator(dist.new_group(dist.get_process_group_ranks(run.group)))
        )
        self.preconditioner = KFAC(run.network, self.settings, communicator)
        self._run = run
        self._checked = False
        run.log.say(start(self.preconditioner))

    def around_backward(self, this: Pass) -> AbstractContextManager[None]:
        """See :class:`Part`; the factors are measured if this update is to.

        Raises:
            RuntimeError: the model does not tell how many images it received.
            ValueError: the model was compiled after it was bound.
        """
        if not self._checked:  # MMEngine compiles between the first sight and the first step
            _require_uncompiled(self._run.model)
            self._checked = True
        if not self._due(this.update):
            return nullcontext()
        if this.images < 1:
            raise RuntimeError(
                'K-FAC needs the number of images of a batch and the data preprocessor of this '
                "model does not show it: its argument has to hold them under 'inputs', as a list "
                f'or a tensor; or set {WHERE}=None.'
            )
        return self.preconditioner.capture(this.index, this.count, this.images, this.loss_scale())

    @contextmanager
    def around_step(self, this: Pass) -> Iterator[None]:
        """See :class:`Part`; the gradients are preconditioned before the step."""
        kfac, groups = self.preconditioner, self._run.optimizer.param_groups
        rates = {id(p): float(group['lr']) for group in groups for p in group['params']}
        skipped = kfac.skipped
        if self._due(this.update) is not None and kfac.step(rates, this.loss_scale()):
            found = scalars(kfac, self._run.module_of)
            self._run.log.scalars({f'kfac/{name}': value for name, value in found.items()})
        if kfac.skipped == 1 and skipped == 0:
            self._run.log.say(
                f'K-FAC: factors were not finite at update {this.update}; they stay as they were, '
                'on all ranks. Said once; the checkpoint counts them.',
                warning=True,
            )
        yield
        if self.settings.rescale_weights:
            rescale_weights(kfac.layers)

    def _due(self, update):
        self.preconditioner.update = update
        self.preconditioner._plan()
        return self.preconditioner.due

    def geometry(self, partition: ModulePartition) -> BlockPreconditioner:
        """See :class:`Part`."""
        return KFACBlocks(self.preconditioner, partition)

    def gather(self) -> None:
        """Bring all factors to rank 0, on all ranks just before a checkpoint is written."""
        self._gathered = gather(self.preconditioner)

    def release(self) -> None:
        """Let go of what :meth:`gather` has brought, after the checkpoint was written."""
        self._gathered = None

    def state_dict(self) -> dict[str, Any]:
        """See :class:`Part`; without the factors of other ranks if they were not gathered."""
        kfac = self.preconditioner
        if kfac.ranks == 1:
            return to_state(kfac, gather(kfac))
        return to_state(kfac, self._gathered or {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`Part`."""
        if not from_state(self.preconditioner, state):
            self._run.log.say(
                'K-FAC: the checkpoint holds no factors; they are measured at the next update. '
                "custom_hooks=[dict(type='KFACStateHook')] keeps them in checkpoints.",
                warning=True,
            )


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
