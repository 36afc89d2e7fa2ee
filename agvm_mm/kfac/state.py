"""K-FAC in the checkpoint: factors packed, clocks as plain numbers.

A checkpoint is written by one rank, which owns a part of the layers. :func:`gather` brings the rest
there and has to be called on all ranks just before; without it a checkpoint holds the clocks alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .packing import full_size, pack, packed_size, unpack
from .preconditioner import KFAC
from .settings import WHERE
from .traffic import solution_shapes

STATE_VERSION = 1
Tensors = dict[int, dict[str, list[Tensor]]]


@torch.no_grad()
def gather(kfac: KFAC) -> Tensors:
    """Factors of all layers at rank 0, by layer, on the CPU; nothing elsewhere.

    A solution is sent only where the factors have moved on since; else it follows from them.
    """
    found: Tensors = {}
    for index, layer in enumerate(kfac.layers):
        if not kfac.averages.measured[index]:
            continue
        size = sum(map(packed_size, layer.shapes))
        factors = kfac.averages.factors[index]
        vector = _collect(kfac, index, size, None if factors is None else pack(factors))
        found[index] = {'factors': [vector]}
        if kfac.solved[index] and not kfac.fresh[index]:
            shapes = solution_shapes(layer, kfac.settings.solver)
            solution = kfac.solutions[index]
            found[index]['solution'] = [
                _collect(kfac, index, full_size(shape), solution[i] if solution else None).reshape(
                    shape
                )
                for i, shape in enumerate(shapes)
            ]
    return found if kfac.communicator.rank == 0 else {}


def to_state(kfac: KFAC, tensors: Tensors) -> dict[str, Any]:
    """What a checkpoint holds; loads with ``weights_only=True``.

    Args:
        kfac: of the rank that writes.
        tensors: what :func:`gather` has brought there; empty to leave the factors out.
    """
    return {
        'version': STATE_VERSION,
        'update': kfac.update,
        'skipped': kfac.skipped,
        'solver': kfac.settings.solver,
        'layers': {
            layer.name: {**kfac.schedule.state(index), **tensors.get(index, {})}
            for index, layer in enumerate(kfac.layers)
        },
    }


def from_state(kfac: KFAC, state: Mapping[str, Any]) -> bool:
    """Inverse of :func:`to_state` for any number of ranks; whether it held factors.

    Raises:
        ValueError: another format, or other layers than this network's.
    """
    _require_same(kfac, state)
    kfac.skipped = int(state['skipped'])
    same_solver = state['solver'] == kfac.settings.solver
    for index, layer in enumerate(kfac.layers):
        entry = state['layers'][layer.name]
        if 'factors' not in entry:
            continue
        kfac.schedule.load(index, entry)
        kfac.averages.measured[index] = True
        parameter = layer.parameters[0]
        if kfac.owned(index):
            vector = entry['factors'][0].to(parameter.device, layer.dtype)
            kfac.averages.factors[index] = unpack(vector, layer.shapes)
        if 'solution' in entry and same_solver:
            if kfac.owned(index):
                kfac.solutions[index] = [
                    part.to(parameter.device, layer.dtype) for part in entry['solution']
                ]
            kfac.solved[index], kfac.fresh[index] = True, False
        else:
            kfac.invert(index)
    kfac.resume(int(state['update']))
    return any(kfac.averages.measured)


def _collect(kfac: KFAC, index: int, size: int, own: Tensor | None) -> Tensor:
    parameter = kfac.layers[index].parameters[0]
    if own is None or not kfac.owned(index):
        vector = parameter.new_zeros(size, dtype=kfac.layers[index].dtype)
    else:
        vector = own.reshape(-1).clone()
    kfac.communicator.start_reduce(vector, 0).wait()
    return vector.cpu() if kfac.communicator.rank == 0 else vector


def _require_same(kfac: KFAC, state: Mapping[str, Any]) -> None:
    if state.get('version') != STATE_VERSION:
        raise ValueError(
            f'the checkpoint holds K-FAC state of version {state.get("version")!r}, this release '
            f'reads {STATE_VERSION}: resume with the release that wrote it.'
        )
    ours, theirs = {layer.name for layer in kfac.layers}, set(state['layers'])
    if ours != theirs:
        name = sorted(ours ^ theirs)[0]
        where = 'the checkpoint' if name in theirs else 'this network'
        raise ValueError(
            f'the layer {name!r} is preconditioned by K-FAC only in {where}; resume with the model '
            'and the kfac options (norms, grouped, exclude) of the run that wrote the checkpoint.'
        )
    for layer in kfac.layers:
        held, wanted = state['layers'][layer.name], sum(map(packed_size, layer.shapes))
        if 'factors' in held and held['factors'][0].numel() != wanted:
            raise ValueError(
                f'the checkpoint holds factors of {held["factors"][0].numel()} numbers for the '
                f'layer {layer.name!r} and this run has {wanted} ({WHERE}.max_size='
                f'{kfac.settings.max_size}); resume with the model and the {WHERE}.max_size of the '
                'run that wrote the checkpoint.'
            )
