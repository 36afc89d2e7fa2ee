"""Measure what AGVM costs beside plain DDP and the authors' scheme, in one run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from agvm_mm.analysis.benchmark.models import MODELS_BY_NAME
from agvm_mm.analysis.benchmark.ranks import run
from agvm_mm.analysis.benchmark.workbench import Options


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--model',
        choices=list(MODELS_BY_NAME),
        default='faster-rcnn_r50',
        help='what is trained; default %(default)s',
    )
    parser.add_argument('--ranks', type=int, default=2, help='processes; default %(default)s')
    parser.add_argument('--images', type=int, default=2, help='on each rank')
    parser.add_argument('--size', type=int, help="pixels of an image's side")
    parser.add_argument('--repeats', type=int, default=20, help='timed rounds')
    parser.add_argument('--warmup', type=int, default=2, help='rounds before them')
    parser.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='of the ranks; here %(default)s',
    )
    parser.add_argument(
        '--arms', nargs='+', default=[''], help='parts of names, such as half_split; default all'
    )
    parser.add_argument('--out', type=Path, help='JSON file for all numbers')
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = vars(parse_args())
    out = args.pop('out')
    for key, least in dict(ranks=2, images=1, repeats=1, warmup=1).items():
        if args[key] < least:
            sys.exit(f'--{key} is {args[key]}; allowed is a whole number, at least {least}.')
    run(Options(**{**args, 'arms': tuple(args['arms'])}), out)


if __name__ == '__main__':
    main()
