"""Measure what AGVM costs beside plain DDP and the authors' scheme, in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from agvm_mm.launch.command_line import require_at_least
from agvm_runs.errors import exit_with_sentence

from .cost.models import MODELS_BY_NAME
from .cost.ranks import run
from .cost.workbench import Options


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
    args = parse_args()
    require_at_least(args, {'ranks': 2, 'images': 1, 'repeats': 1, 'warmup': 1})
    options = vars(args)
    out = options.pop('out')
    run(Options(**{**options, 'arms': tuple(options['arms'])}), out)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
