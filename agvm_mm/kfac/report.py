"""What a run says of K-FAC: its layers and costs at the start, scalars when it measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..checks import counted
from .preconditioner import KFAC


def describe(kfac: KFAC) -> str:
    """Layers, what is left out and why, bytes."""
    settings, traffic = kfac.settings, kfac.traffic()
    helpers = [layer.helper for layer in kfac.layers]
    kinds = Counter(type(helper.module).__name__ for helper in helpers)
    diagonal = sum(len(shape) == 2 for helper in helpers for shape in helper.shapes)
    lines = [
        f'K-FAC: {counted(len(kfac.layers), "layer")} on {counted(kfac.ranks, "rank")}, measured '
        f'every {settings.statistics_interval} updates, inverted every {settings.inverse_interval}',
        '  ' + ', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items())),
        f'  {diagonal} factors of more than {settings.max_size} rows keep their diagonal alone',
        f'  memory {_mib(traffic.memory)} on the fullest rank, {_mib(traffic.memory_alone)} alone',
    ]
    if kfac.ranks > 1:
        when = 'during' if kfac.overlaps else 'after'
        lines.append(
            f'  sent {when} the backward pass: {_mib(traffic.factors)} a measurement '
            f'({_mib(traffic.factors_full)} unpacked) and {_mib(traffic.gradients)} an update'
        )
    for reason, count in sorted(Counter(kfac.left.values()).items()):
        lines.append(f'  {count} tensors keep their gradient: {reason}')
    return '\n'.join(lines)


def scalars(kfac: KFAC, module_of: Mapping[int, str]) -> dict[str, float]:
    """By module: length of the preconditioned gradient over that of the plain one, and cosine.

    Args:
        kfac: after a step.
        module_of: module by ``id(parameter)``.
    """
    if not kfac.products:
        return {}
    sums: dict[str, list[float]] = {}
    for layer, row in kfac.products.items():
        name = module_of[id(layer.parameters[0])]
        sums[name] = [a + b for a, b in zip(sums.get(name, (0.0, 0.0, 0.0)), row)]
    found = {'scale': kfac.scale}
    for name, (plain, new, inner) in sums.items():
        if plain > 0 and new > 0:
            found[f'ratio/{name}'] = (new / plain) ** 0.5
            found[f'cosine/{name}'] = inner / (plain * new) ** 0.5
    return found


def _mib(size: int) -> str:
    return f'{size / 2**20:.1f} MiB'
