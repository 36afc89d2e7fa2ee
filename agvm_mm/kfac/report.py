"""What a run says of K-FAC: its layers and costs at the start, scalars when it measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from agvm_runs.checks import counted

from .distribution import full_size, packed_size
from .measurement import bundle
from .preconditioner import KFAC
from .solve import solution_shapes


@dataclass(frozen=True)
class Traffic:
    """What distributing K-FAC costs, in bytes.

    Attributes:
        factors: packed factors of all layers, what one measurement sends towards their owners.
        factors_full: the same without packing, in full precision.
        control: the small vectors that accompany a measurement and an inversion.
        gradients: preconditioned gradients, what every update sends from the owners.
        solutions: what the owners send after an inversion in place of gradients.
        memory: factors and their inverses on the rank that holds most.
        memory_alone: the same on a single process.
        measuring: collectives of a measurement; these and the next if none fails.
        inverting: further ones of an inversion.
        every: further ones of every update.
    """

    factors: int
    factors_full: int
    control: int
    gradients: int
    solutions: int
    memory: int
    memory_alone: int
    measuring: int
    inverting: int
    every: int


def count_traffic(kfac: KFAC) -> Traffic:
    """Payload of each collective, not what the library makes of it on the wire."""
    half, layers = kfac.settings.half and kfac.ranks > 1, len(kfac.layers)
    packed = full = numbers = scales = solutions = sent = 0
    held = [0] * kfac.ranks
    gradients = kfac.settings.sends_gradients
    for layer in kfac.layers:
        shapes, item = layer.helper.shapes, layer.helper.dtype.itemsize
        packed += packed_size(shapes) * (2 if half else item)
        full += full_size(shapes) * item
        solution = full_size(solution_shapes(shapes, kfac.settings.solver))
        held[layer.owner] += (full_size(shapes) + solution * gradients) * item
        solutions += solution * item
        sent += layer.pack_size * item
        numbers += layer.helper.size
        scales += len(shapes) if half else 0
    several, owners = kfac.ranks > 1, len({layer.owner for layer in kfac.layers})
    messages = len(bundle(kfac.layers[::-1], 2 if half else None))
    return Traffic(
        factors=packed,
        factors_full=full,
        control=8 * (1 + layers + 4 * layers + layers + scales),
        gradients=gradients * numbers * max(x.helper.dtype.itemsize for x in kfac.layers),
        solutions=(not gradients) * sent,
        memory=max(held) + (not gradients) * solutions,
        memory_alone=sum(held) + (not gradients) * solutions,
        measuring=several * (messages + 2 + half),
        inverting=several * (1 + (not gradients) * owners),
        every=several * gradients * owners,
    )


def describe(kfac: KFAC) -> str:
    """Layers, what is left out and why, bytes."""
    settings, traffic = kfac.settings, count_traffic(kfac)
    helpers = [layer.helper for layer in kfac.layers]
    kinds = Counter(helper.kind for helper in helpers)
    at_first = ', more often at first' if settings.growing_intervals else ''
    diagonal = sum(len(shape) == 2 for helper in helpers for shape in helper.shapes)
    lines = [
        f'K-FAC: {counted(len(kfac.layers), "layer")} on {counted(kfac.ranks, "rank")}, measured '
        f'every {counted(settings.statistics_interval, "update")}, inverted every '
        f'{settings.inverse_interval}{at_first}',
        '  ' + ', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items())),
        f'  {diagonal} factors of more than {settings.max_size} rows keep their diagonal alone',
        f'  memory {_mib(traffic.memory)} on the fullest rank, {_mib(traffic.memory_alone)} alone',
    ]
    if kfac.ranks > 1:
        gradients, solutions = _mib(traffic.gradients), _mib(traffic.solutions)
        sent = f'{gradients} an update' if traffic.gradients else f'{solutions} an inversion'
        when = 'during' if kfac.overlaps else 'after'
        lines.append(
            f'  sent {when} the backward pass: {_mib(traffic.factors)} a measurement '
            f'({_mib(traffic.factors_full)} unpacked) and {sent}'
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
    found = {'kl_multiplier': kfac.kl_multiplier}
    for name, (plain, new, inner) in sums.items():
        if plain > 0 and new > 0:
            found[f'ratio/{name}'] = (new / plain) ** 0.5
            found[f'cosine/{name}'] = inner / (plain * new) ** 0.5
    return found


def _mib(size: int) -> str:
    return f'{size / 2**20:.1f} MiB'
