"""Parameter groups of matrices and of the rest, cut from the groups of a config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from .buckets import Group
from .muon_split import Layout, MuonSplit

WHERE = 'optim_wrapper.optimizer'


def cut_groups(
    params: Any, defaults: Group, rest: Mapping[str, Any], split: MuonSplit | None
) -> list[Group]:
    """Groups for :class:`.muon.MuonOptimizer`, each of one layout or of the rest.

    Args:
        params: Parameters, or groups of them.
        defaults: Options of a group that has none of its own.
        rest: Options of the rest's groups, with ``lr_ratio`` and ``decay_ratio``.
        split: Who steps what; None where every group says so by ``use_muon``.

    Raises:
        ValueError: Nothing says which parameters are matrices; a matrix has fewer than two
            dimensions; a parameter is a DTensor.
    """
    listed = list(params)
    groups = listed if listed and isinstance(listed[0], dict) else [dict(params=listed)]
    return [part for group in groups for part in _split(group, defaults, rest, split)]


def _split(
    group: Group, defaults: Group, rest: Mapping[str, Any], split: MuonSplit | None
) -> list[Group]:
    """One group for every layout among the parameters of ``group``, and one for the rest."""
    given = group['params']
    parameters = [given] if isinstance(given, Tensor) else list(given)
    _require_whole(parameters)
    layouts = [_layout(p, group, split) for p in parameters]
    parts = []
    for layout in sorted({layout for layout in layouts if layout is not None}):
        chosen = [p for p, own in zip(parameters, layouts) if own == layout]
        parts.append({**group, 'params': chosen, 'use_muon': True, **layout._asdict()})
    others = [p for p, own in zip(parameters, layouts) if own is None]
    if others or not parts:
        options = {**defaults, **rest, **group}
        options['lr'] *= options.pop('lr_ratio')
        options['weight_decay'] *= options.pop('decay_ratio')
        parts.append({**options, 'params': others, 'use_muon': False, **Layout()._asdict()})
    return parts


def _layout(parameter: Tensor, group: Group, split: MuonSplit | None) -> Layout | None:
    """How Muon reads a parameter; None for the rest."""
    if split is not None:
        return split.layouts.get(id(parameter))
    if 'use_muon' not in group:
        raise ValueError(
            f'{WHERE}.type is MuonOptimizer and nothing says which parameters are its matrices; '
            "set optim_wrapper.constructor='MuonOptimWrapperConstructor', or use_muon=True or "
            'False in every parameter group.'
        )
    if not group['use_muon']:
        return None
    if parameter.ndim < 2:
        raise ValueError(
            f'a parameter of shape {tuple(parameter.shape)} is in a group with use_muon=True; Muon '
            'takes weights of two and more dimensions.'
        )
    return Layout(group.get('blocks', 1), group.get('transposed', False))


def _require_whole(parameters: Iterable[Tensor]) -> None:
    if any(hasattr(p, 'placements') for p in parameters):
        raise ValueError(
            'MuonOptimizer was given DTensor parameters, of which a rank holds a shard, as '
            'fully_shard and tensor parallelism make them; use MMDistributedDataParallel.'
        )
