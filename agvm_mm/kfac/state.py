"""K-FAC in a checkpoint: the clocks, and the factors of all layers, which rank 0 collects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..distributed import Communicator
from .distribution import full_size, pack, packed_size, unpack
from .layer import KFACLayer
from .settings import WHERE

VERSION = 3


def require_same(state: Mapping[str, Any], layers: Sequence[KFACLayer]) -> None:
    """Refuse the state of another release or of other layers.

    Raises:
        ValueError: what differs, and with what to resume.
    """
    if state.get('version') != VERSION:
        raise ValueError(
            f'the checkpoint holds K-FAC state of version {state.get("version")!r}, this '
            f'release reads {VERSION}: resume with the release that wrote it.'
        )
    ours, theirs = {layer.name for layer in layers}, set(state['layers'])
    if ours != theirs:
        name = sorted(ours ^ theirs)[0]
        where = 'the checkpoint' if name in theirs else 'this network'
        raise ValueError(
            f'the layer {name!r} is preconditioned by K-FAC only in {where}; resume with the '
            'model and the kfac options (norms, grouped, exclude) of the run that wrote the '
            'checkpoint.'
        )


def layer_state(layer: KFACLayer, communicator: Communicator) -> dict[str, Any]:
    """Clock and, on rank 0, packed factors, called on all ranks; the tensors on the CPU.

    A solution is sent only where the factors have moved on since; else it follows from them.
    """
    state: dict[str, Any] = layer.clock.state_dict()
    if not layer.measured:
        return state
    factors = None if layer.factors is None else pack(layer.factors)
    size = packed_size(layer.helper.shapes)
    tensors: dict[str, Any] = {'factors': _collect(layer, factors, size, communicator)}
    if layer.solved and not layer.fresh:
        shapes = layer.solution_shapes
        held = layer.solution if layer.owned else None
        own = [None] * len(shapes) if held is None else held
        tensors['solution'] = [
            _collect(layer, part, full_size([shape]), communicator).reshape(shape)
            for part, shape in zip(own, shapes)
        ]
    return {**state, **tensors} if communicator.rank == 0 else state


def load_layer(layer: KFACLayer, state: Mapping[str, Any], same_solver: bool) -> None:
    """Inverse of :func:`layer_state` for any number of ranks; nothing without factors.

    Without a solution of the run's own kind in it, the factors are to be inverted.

    Args:
        layer: as it was built.
        state: of the layer.
        same_solver: whether a solution in it is of the run's own kind.

    Raises:
        ValueError: factors of another size.
    """
    if 'factors' not in state:
        return
    shapes, settings = layer.helper.shapes, layer.settings
    found, wanted = state['factors'].numel(), packed_size(shapes)
    if found != wanted:
        raise ValueError(
            f'the checkpoint holds factors of {found} numbers for the layer {layer.name!r} and '
            f'this run has {wanted} ({WHERE}.max_size={settings.max_size}, '
            f'{WHERE}.max_block={settings.max_block}); resume with '
            'the model, max_size and max_block of the run that wrote the checkpoint.'
        )
    layer.clock.load_state_dict(state)
    layer.measured = True
    if layer.owned:
        layer.factors = unpack(_own(layer, state['factors']), shapes)
    if 'solution' in state and same_solver:
        if layer.owned or not settings.sends_gradients:
            layer.solution = [_own(layer, part) for part in state['solution']]
        layer.solved = True


def _collect(layer: KFACLayer, own: Tensor | None, size: int, communicator: Communicator) -> Tensor:
    vector = layer.zeros((size,)) if own is None else own.reshape(-1).clone()
    communicator.start_reduce(vector, 0).wait()
    return vector.cpu()


def _own(layer: KFACLayer, tensor: Tensor) -> Tensor:
    return tensor.to(layer.parameters[0].device, layer.helper.dtype)
