"""``attach``: the parts in any PyTorch loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from agvm_runs.checks import is_count, require

from ..parts import AGVMPart, KFACPart, UnitClipPart
from .handle import Handle
from .held import HeldParts
from .words import said_by_attach

WHERE = 'attach'


def attach(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    modules: Mapping[str, Sequence[str]] | None = None,
    accumulation: int = 1,
    scaler: torch.amp.GradScaler | None = None,
    agvm: Mapping[str, Any] | None = {},  # noqa: B006  read and never changed
    kfac: Mapping[str, Any] | None = None,
    clip: Mapping[str, Any] | None = None,
) -> Handle:
    """Let AGVM, K-FAC and clipping by units take part in every step of ``optimizer``.

    The training loop stays as it is: hooks on the optimizer's step, and in an update that is
    measured on the parameters, see all that is needed.

    Args:
        model: as the loop trains it: in ``DistributedDataParallel``, sharded by ``fully_shard``, or
            bare in one process.
        optimizer: of all trainable parameters, the innermost if others are around it.
        modules: the modules of AGVM, ``{name: [parameter-name prefixes]}``; None to divide the
            model by its structure.
        accumulation: backward passes in one update.
        scaler: of the loss in mixed precision.
        agvm: keys of :class:`agvm_mm.AGVMSettings`; None for no AGVM.
        kfac: keys of :class:`agvm_mm.kfac.KFACSettings`; None for no K-FAC.
        clip: options of :class:`agvm_mm.parts.UnitClipPart`; None for none. The loop's own
            clipping comes before K-FAC and this, and after AGVM's measurement.

    Raises:
        ValueError: a wrong value, or a set-up that cannot work; the sentence says what to change.
    """
    allowed = 'a whole number of backward passes, at least 1'
    require(is_count(accumulation, 1), 'accumulation', accumulation, allowed, WHERE)
    _require_kind(isinstance(model, nn.Module), 'model', model, 'a torch.nn.Module')
    _require_kind(
        isinstance(optimizer, Optimizer), 'optimizer', optimizer, 'a torch.optim.Optimizer'
    )
    scales = scaler is None or hasattr(scaler, 'scale')
    _require_kind(scales, 'scaler', scaler, 'a GradScaler or None')
    with said_by_attach():
        held = HeldParts(
            {
                AGVMPart.key: _with_modules(agvm, modules),
                KFACPart.key: kfac,
                UnitClipPart.key: _by_units(clip),
            }
        )
        return Handle(held, model, optimizer, accumulation, scaler)


def _require_kind(holds: bool, key: str, value: object, allowed: str) -> None:
    if not holds:
        kind = type(value).__name__
        raise ValueError(f'{WHERE}.{key} is of the type {kind}; allowed is {allowed}.')


def _with_modules(
    agvm: Mapping[str, Any] | None, modules: Mapping[str, Sequence[str]] | None
) -> Mapping[str, Any] | None:
    if modules is None:
        return agvm
    if not isinstance(agvm, Mapping) or 'modules' in agvm:
        raise ValueError(
            f'modules is {modules!r} and agvm is {agvm!r}; give modules once, for a run with agvm.'
        )
    return {**agvm, 'modules': modules}


def _by_units(clip: Any) -> Any:
    if clip is None:
        return None
    if not isinstance(clip, Mapping) or 'max_norm' in clip or clip.get('type', 'agc') != 'agc':
        raise ValueError(
            f'clip is {clip!r}; allowed is a dict with options of adaptive clipping, such as '
            'dict(clip_factor=0.01), or None. To clip the norm of all gradients call '
            'torch.nn.utils.clip_grad_norm_ before the step.'
        )
    return {**clip, 'type': 'agc'}
