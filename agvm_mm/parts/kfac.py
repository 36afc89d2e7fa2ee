"""K-FAC as a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from agvm_runs.checks import counted

from ..distributed import ProcessGroupCommunicator, SingleProcess
from ..gradients import BlockPreconditioner
from ..kfac import KFAC, KFACSettings, describe, scalars
from ..kfac.settings import WHERE
from ..statistics import ModulePartition
from .kfac_blocks import KFACBlocks
from .part import Part, Pass, Run

SHOWN = 4  # names in a sentence


class KFACPart(Part):
    """Preconditions the gradients before the step.

    Args:
        values: the keys of :class:`agvm_mm.kfac.KFACSettings`.

    Attributes:
        settings: the checked keys.
        preconditioner: of the network; set when the part binds.
    """

    key = 'kfac'
    title = 'K-FAC'
    where = WHERE
    needs_ranks = True

    preconditioner: KFAC

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.settings = KFACSettings.from_dict(values)

    def bind(self, run: Run) -> None:
        """Find the layers and divide them among the ranks.

        Raises:
            ValueError: the model is compiled.
        """
        _require_uncompiled(run.model)
        # Its collectives run beside those of the data-parallel wrapper.
        ranks = None if run.group is None else ProcessGroupCommunicator(run.group).beside()
        communicator = SingleProcess() if ranks is None else ranks
        self.preconditioner = KFAC(run.network, self.settings, communicator, run.place)
        self._run = run
        self._checked = self._failed = False
        self._listed = set(self.preconditioner.left)
        run.log.say(describe(self.preconditioner))

    def detach(self) -> None:
        """Remove the hooks on the layers."""
        if hasattr(self, 'preconditioner'):
            self.preconditioner.detach()

    def before_update(self, update: int) -> None:
        """Decide which layers ``update`` measures."""
        self.preconditioner.before_update(update)

    def watches(self, update: int) -> bool:
        """Whether factors are due; the first time, also to look for a compiled model."""
        return self.preconditioner.due or not self._checked

    def watched_layers(self) -> list[nn.Module]:
        """The layers whose factors are due."""
        return [layer.helper.module for layer in self.preconditioner.layers if layer.due]

    def around_backward(self, this: Pass) -> AbstractContextManager[None]:
        """Measure the factors if they are due.

        Raises:
            RuntimeError: the model does not tell how many images it received.
            ValueError: the model was compiled after it was bound.
        """
        if not self._checked:  # MMEngine compiles after binding and before the first step
            _require_uncompiled(self._run.model)
            self._checked = True
        if not self.preconditioner.due:
            return nullcontext()
        if this.images < 1:
            raise RuntimeError(
                'K-FAC needs the number of images of a batch, which this model does not show: pass '
                "the images to its data preprocessor under 'inputs', or to a model without one as "
                f'an argument, as a list or a tensor, or set {WHERE}=None.'
            )
        return self.preconditioner.around_backward(
            this.index, this.count, this.images, this.loss_scale()
        )

    @contextmanager
    def around_step(self, this: Pass) -> Iterator[None]:
        """Precondition the gradients before the step; rescale weights after it."""
        kfac = self.preconditioner
        skipped = kfac.skipped
        if kfac.step(this.update, self._rates(), this.loss_scale()):
            self._list_uncalled()
            found = scalars(kfac, self._run.module_of)
            self._run.log.scalars({f'kfac/{name}': value for name, value in found.items()})
        if kfac.skipped == 1 and skipped == 0:
            self._run.log.say(
                f'K-FAC: factors were not finite at update {this.update}; all ranks keep the '
                'previous ones. This warning is given once; the checkpoint counts such updates.',
                warning=True,
            )
        if kfac.unsolved and not self._failed:
            self._failed = True
            names = [layer.name for layer in kfac.unsolved]
            self._run.log.say(
                f'K-FAC: the inversion of {counted(len(names), "layer")} failed at update '
                f'{this.update}; on all ranks their old inverses stay, or without any, their '
                f'gradient: {_some(names)} Said once; '
                'a larger damping may help.',
                warning=True,
            )
        yield
        kfac.after_step()

    def _rates(self) -> dict[int, float | Tensor]:
        """Learning rates of the step by ``id(parameter)``, which the KL clip alone needs."""
        if self.settings.kl_clip is None:
            return {}
        groups = self._run.optimizer.param_groups
        return {id(p): group['lr'] for group in groups for p in group['params']}

    def _list_uncalled(self) -> None:
        left = self.preconditioner.left
        new = sorted(left.keys() - self._listed)
        self._listed.update(new)
        if new:
            self._run.log.say(
                f'K-FAC: {len(new)} tensors keep their gradient, {left[new[0]]}: {_some(new)}',
                warning=True,
            )

    def geometry(self, partition: ModulePartition) -> BlockPreconditioner:
        """The blocks of the Fisher matrix."""
        return KFACBlocks(self.preconditioner, partition)

    def gather(self) -> None:
        """Send all factors to rank 0; call it on all ranks just before a checkpoint is written."""
        self.preconditioner.gather()

    def release(self) -> None:
        """Free what :meth:`gather` collected, after the checkpoint was written."""
        self.preconditioner.release()

    def state_dict(self) -> dict[str, Any]:
        """Clocks and factors; those of other ranks only after :meth:`gather`."""
        return self.preconditioner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; warns if the checkpoint has no factors."""
        if not self.preconditioner.load_state_dict(state):
            self._run.log.say(
                'K-FAC: the checkpoint holds no factors; they are measured at the next update. '
                "custom_hooks=[dict(type='KFACStateHook')] keeps them in checkpoints.",
                warning=True,
            )


def _some(names: Sequence[str]) -> str:
    """The first names of a list, for a sentence."""
    return f'{", ".join(names[:SHOWN])}{" ..." if len(names) > SHOWN else "."}'


def _require_uncompiled(model: nn.Module) -> None:
    modules = (model, *model.modules())
    methods = [getattr(m, name, None) for m in modules for name in ('forward', 'train_step')]
    if any(hasattr(module, '_orig_mod') for module in modules) or any(
        hasattr(method, '_torchdynamo_orig_callable') for method in methods
    ):
        raise ValueError(
            'the model is compiled, and torch.compile skips the hooks with which K-FAC measures '
            f'layers; train without compile, or set {WHERE}=None.'
        )
