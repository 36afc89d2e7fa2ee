"""Predict step, epoch and training time on a cluster: plain DDP, AGVM, the authors' scheme."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from agvm_mm.launch.command_line import require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_runs.errors import exit_with_sentence

from .scaling.cluster import Cluster, read_cluster
from .scaling.model import (
    SCHEMES,
    Workload,
    epoch_time,
    mean_step,
    step_cost,
    training_time,
)
from .scaling.plot import LABELS, plot_scaling
from .scaling.published import COMPARISONS, compare

CLUSTERS = Path(__file__).resolve().with_name('clusters')
GPUS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
HELP = {
    'parameters': 'trainable numbers',
    'tensors': 'trainable parameter tensors',
    'modules': 'modules of the normalised variance',
    'element': 'bytes of a number on the wire',
    'bucket': 'bytes of a DDP bucket',
    'backward': 'share of the compute time in which gradients become ready',
    'images': 'images in an epoch',
    'images_per_gpu': 'images of a step on a GPU',
    'epochs': 'length of the run',
    'interval': 'updates between two estimates',
}


def parse_args() -> argparse.Namespace:
    """The command line; every field of the workload is an option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'cluster', nargs='?', default=CLUSTERS / 'a100_8x200g.yaml', help='YAML or JSON file'
    )
    parser.add_argument(
        '--gpus', nargs='+', type=int, default=list(GPUS), help='numbers of GPUs; default 8 to 4096'
    )
    parser.add_argument('--out', default='scaling', help='path without suffix; PNG and SVG')
    parser.add_argument(
        '--seconds-per-image', type=float, help='measured; replaces what the file says'
    )
    for field in fields(Workload):
        parser.add_argument(
            f'--{field.name.replace("_", "-")}',
            type=type(field.default),
            default=field.default,
            help=f'{HELP[field.name]}; default %(default)s',
        )
    return parser.parse_args()


def table(cluster: Cluster, workload: Workload, gpus: Sequence[int]) -> list[str]:
    """One line for each number of GPUs and scheme."""
    lines = [
        f'{cluster.name} (modelled)',
        f'{"GPUs":>5}  {"scheme":<20} {"other ms":>9} {"estim. ms":>10} {"mean / DDP":>11} '
        f'{"epoch s":>9} {"run min":>9}',
    ]
    for count in gpus:
        plain = mean_step(cluster, workload, count, 'ddp')
        for scheme in SCHEMES:
            other, estimating = (
                1e3 * step_cost(cluster, workload, count, scheme, flag).total
                for flag in (False, True)
            )
            ratio = mean_step(cluster, workload, count, scheme) / plain
            epoch = epoch_time(cluster, workload, count, scheme)
            minutes = training_time(cluster, workload, count, scheme) / 60
            lines.append(
                f'{count:>5}  {LABELS[scheme]:<20} {other:>9.2f} {estimating:>10.2f} '
                f'{ratio:>11.4f} {epoch:>9.2f} {minutes:>9.2f}'
            )
    return lines


def published() -> list[str]:
    """The model against published times."""
    lines = ['', 'Published times, minutes (compute time of a step from the run in brackets)']
    for known, run in COMPARISONS:
        found = compare(read_cluster(CLUSTERS / f'{run.cluster}.yaml'), known, run)
        lines.append(
            f'  {found.run:<24} {found.gpus:>5} GPUs  predicted {found.predicted:6.3f}  published '
            f'{found.published:6.3f}  {found.relative:+7.1%}   ({found.known}: '
            f'{1e3 * found.step:.1f} ms)'
        )
    return lines


def main() -> None:
    """Print the tables and draw the figure."""
    args = parse_args()
    require_at_least(args, {'gpus': 1})
    try:
        cluster = read_cluster(args.cluster)
        workload = Workload(**{field.name: getattr(args, field.name) for field in fields(Workload)})
    except (OSError, ValueError) as error:
        raise LaunchError(str(error)) from error
    if args.seconds_per_image is not None:
        if not args.seconds_per_image >= 0:
            raise LaunchError(
                f'--seconds-per-image is {args.seconds_per_image}; allowed is a number, at least 0.'
            )
        cluster = replace(cluster, seconds_per_image=args.seconds_per_image)
    print('\n'.join(table(cluster, workload, args.gpus) + published()))
    for path in plot_scaling(cluster, workload, args.gpus, args.out):
        print(path)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
