"""What the methods make of a network, from its structure alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import nn

from agvm_mm.kfac import KFACSettings
from agvm_mm.kfac.find import find_layers
from agvm_mm.optimizers.prediction_layers import prediction_layers
from agvm_mm.statistics.modules import default_modules
from agvm_mm.statistics.partition import covers

SHOWN = 0.0005  # of the numbers: a reason for fewer is not listed


def facts(network: nn.Module) -> dict[str, Any]:
    """Trainable numbers, the modules, and the shares that K-FAC and clipping by units cover.

    K-FAC's is under ``share``, and under ``left`` are the reasons for the others with their shares;
    that of clipping by units is with each value of ``exclude``.
    """
    sizes = {name: p.numel() for name, p in network.named_parameters() if p.requires_grad}
    total = sum(sizes.values())
    return {
        'network': type(network).__name__,
        'numbers': total,
        'modules': _modules(network, sizes),
        'kfac': _kfac(network, sizes),
        'clip': _clip(network, sizes),
    }


def classes_of(network: nn.Module) -> list[str]:
    """The names of the classes of all layers, by which two networks are of one kind."""
    return sorted({type(module).__name__ for module in network.modules()})


def _modules(network: nn.Module, sizes: dict[str, int]) -> dict[str, float]:
    owners = default_modules(network)
    found: Counter[str] = Counter()
    for name, size in sizes.items():
        found[owners[name]] += size
    order = dict.fromkeys(owner for name, owner in owners.items() if covers(owner, name))
    return {name: _share(found[name], sizes) for name in order if found[name]}


def _kfac(network: nn.Module, sizes: dict[str, int]) -> dict[str, Any]:
    found = find_layers(network, KFACSettings())
    left: Counter[str] = Counter()
    for name, reason in found.left.items():
        left[reason] += sizes[name]
    shown = {why: _share(size, sizes) for why, size in left.most_common()}
    return {
        'share': _share(sum(helper.size for helper in found.helpers), sizes),
        'left': {why: share for why, share in shown.items() if share >= SHOWN},
    }


def _clip(network: nn.Module, sizes: dict[str, int]) -> dict[str, float]:
    found = {}
    for exclude, regression in (('cls', False), ('pred', True)):
        left = [f'{layer}.weight' for layer in prediction_layers(network, regression)]
        clipped = sum(sizes.values()) - sum(sizes.get(name, 0) for name in left)
        found[exclude] = _share(clipped, sizes)
    return found


def _share(size: int, sizes: dict[str, int]) -> float:
    return round(size / sum(sizes.values()), 5)
