"""Predict what K-FAC adds to a step on 8 to 4,096 GPUs; count its traffic and memory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agvm_mm.kfac import KFAC, KFACSettings, count_traffic
from agvm_mm.launch.command_line import require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table

from .cost.models import add_model, build_batch, build_model
from .scaling.cluster import read_cluster
from .scaling.kfac import Ranks, count_operations, kfac_cost

CLUSTERS = Path(__file__).resolve().with_name('clusters')
GPUS = (8, 32, 128, 1024, 4096)
MIB = 2**20


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'cluster', nargs='?', default=CLUSTERS / 'a100_8x200g.yaml', help='YAML or JSON file'
    )
    add_model(parser)
    parser.add_argument('--gpus', nargs='+', type=int, default=list(GPUS), help='numbers of GPUs')
    parser.add_argument(
        '--kfac', type=json.loads, nargs='+', default=[{}], help='sets of options, as JSON'
    )
    parser.add_argument(
        '--pixels',
        type=int,
        default=800 * 1333,
        help='of a training image; maps are counted at --size and grow with it',
    )
    parser.add_argument(
        '--rate', type=float, default=1e13, help='float32 operations a second; default %(default)s'
    )
    return parser.parse_args()


def main() -> None:
    """Print one table for every set of options."""
    args = parse_args()
    require_at_least(args, {'gpus': 1, 'images': 1, 'size': 32, 'pixels': 1, 'rate': 1})
    try:
        cluster = read_cluster(args.cluster)
    except (OSError, ValueError) as error:
        raise LaunchError(str(error)) from error
    model = build_model(args.model)
    positions = count_positions(model, args.size, args.pixels)
    step = 1e3 * cluster.compute(args.images)
    print(
        f'{args.model}, {args.images} images of {args.pixels} pixels a GPU, {cluster.name}, '
        f'{step:.0f} ms a step without K-FAC (modelled)'
    )
    for options in args.kfac:
        rows = []
        for gpus in args.gpus:
            kfac = KFAC(model, KFACSettings(**options), Ranks(gpus))
            cost = kfac_cost(cluster, kfac, positions, args.images, args.rate)
            traffic = count_traffic(kfac)
            times = (cost.every, cost.measuring, cost.inverting, cost.mean)
            calls = traffic.every, traffic.measuring, traffic.inverting
            sent = traffic.gradients, traffic.factors, traffic.solutions
            rows.append(
                [
                    str(gpus),
                    *(f'{1e3 * seconds:.1f}' for seconds in times),
                    f'{1 + 1e3 * cost.mean / step:.3f}',
                    ' / '.join(map(str, calls)),
                    ' / '.join(f'{size / MIB:.1f}' for size in sent),
                    f'{traffic.memory / MIB:.0f}',
                ]
            )
        alone = KFAC(model, KFACSettings(**options), Ranks(1))
        work = count_operations(alone, positions, args.images)
        print(
            f'\nkfac={json.dumps(options)}; on one process {work.measuring / 1e9:.0f} GFLOP a '
            f'measurement, {work.every / 1e9:.0f} an update, {work.inverting / 1e9:.0f} an '
            'inversion'
        )
        head = ['GPUs', 'every ms', 'measuring ms', 'inverting ms', 'mean ms', 'step']
        head += ['collectives', 'MiB sent', 'MiB on the fullest rank']
        print(markdown_table(head, rows))
    print('\ncollectives and MiB: of every update / of a measurement / of an inversion')


def count_positions(model: Any, size: int, pixels: int) -> dict[str, float]:
    """Positions of the outputs of every module that K-FAC may know, of one image.

    Those of maps grow with the image; rows of a Linear, the regions of interest, do not.
    """
    found: dict[str, float] = {}

    def note(name: str, output: Tensor) -> None:
        maps = output.ndim == 4
        positions = output.numel() // output.shape[1 if maps else -1]
        found[name] = found.get(name, 0) + positions * (pixels / size**2 if maps else 1)

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    batch = build_batch((0,), 1, size)
    with torch.no_grad():
        model(**model.data_preprocessor(batch, True), mode='loss')
    for handle in handles:
        handle.remove()
    return found


if __name__ == '__main__':
    with exit_with_sentence():
        main()
