"""Cost against the number of GPUs, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes

from agvm_runs.style import (  # also chooses the backend without a display
    COLOURS,
    MARKERS,
    logarithmic,
    save,
)

from .cluster import Cluster
from .model import SCHEMES, Workload, mean_step, step_cost, training_time

LABELS = {
    'ddp': 'plain DDP',
    'all_pairs': 'AGVM, all_pairs',
    'half_split': 'AGVM, half_split',
    'authors': "the authors' scheme",
}


def plot_scaling(
    cluster: Cluster, workload: Workload, gpus: Sequence[int], out: str | Path
) -> list[Path]:
    """Three panels: cost of an estimating step, of the mean step, and minutes to train.

    Args:
        cluster: where.
        workload: what.
        gpus: the horizontal axis.
        out: path without suffix; '.png' and '.svg' are written.
    """

    def added(scheme: str, count: int) -> float:
        plain = step_cost(cluster, workload, count, 'ddp', estimating=False)
        return 1e3 * (
            step_cost(cluster, workload, count, scheme, estimating=True).total - plain.total
        )

    def mean(scheme: str, count: int) -> float:
        ratio = mean_step(cluster, workload, count, scheme) / mean_step(
            cluster, workload, count, 'ddp'
        )
        return 100 * (ratio - 1)

    def minutes(scheme: str, count: int) -> float:
        return training_time(cluster, workload, count, scheme) / 60

    figure, axes = pyplot.subplots(1, 3, figsize=(13.5, 4.0), layout='constrained')
    others = [scheme for scheme in SCHEMES if scheme != 'ddp']
    _draw(axes[0], others, gpus, added, 'added to an estimating step (ms)')
    _draw(axes[1], others, gpus, mean, f'added on average, 1 of {workload.interval} steps (%)')
    _draw(axes[2], SCHEMES, gpus, minutes, f'minutes for {workload.epochs:g} epochs')
    axes[2].legend(fontsize='small')
    figure.suptitle(f'{cluster.name}: {workload.images_per_gpu:g} images a GPU (modelled)')
    return save(figure, out)


def _draw(
    axes: Axes,
    schemes: Sequence[str],
    gpus: Sequence[int],
    value: Callable[[str, int], float],
    label: str,
) -> None:
    shown = []
    for scheme in schemes:
        i = SCHEMES.index(scheme)
        values = [value(scheme, count) for count in gpus]
        shown += values
        axes.plot(
            gpus,
            values,
            color=COLOURS[i],
            marker=MARKERS[i],
            markersize=4,
            linewidth=1.3,
            label=LABELS[scheme],
        )
    axes.set_xscale('log', base=2)
    logarithmic(axes, shown)
    axes.set_xticks(gpus, [str(count) for count in gpus], rotation=45, fontsize='small')
    axes.set_xlabel('GPUs')
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
