"""The paper's tables: how to train every cell, and what was published and measured.

    python tools/reproduce.py --table faster_rcnn --work-root work_dirs

A finished run is found in <work root>/<name of the config>_seed<N> or <work root>/<name of the
config>, with _batch<B> behind the name where the config is rescaled. See docs/recipes.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from agvm_runs.errors import UserError, exit_with_sentence
from agvm_runs.reproduce import TABLES, rows_of, to_csv, to_markdown, to_summary, to_terminal
from agvm_runs.reproduce.commands import Hardware

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 140


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--table', choices=['all', *TABLES], default='all', help='which table')
    parser.add_argument(
        '--work-root', type=Path, default=Path('work_dirs'), help='folder of the work directories'
    )
    parser.add_argument('--show', choices=['both', 'results', 'commands'], default='both')
    parser.add_argument(
        '--format',
        choices=['terminal', 'markdown', 'csv', 'summary'],
        default='terminal',
        help='summary: what was measured alone, methods by batches',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed that the commands name')
    parser.add_argument(
        '--gpus', type=_positive, help='GPUs of a run; the recipes name their own by default'
    )
    parser.add_argument('--gpus-per-node', type=_positive, default=8, help='GPUs of a machine')
    parser.add_argument(
        '--seconds-per-image',
        type=float,
        help='GPU seconds of one training image, as you have measured them, for the expected time',
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{value} is not 1 or more')
    return value


def main() -> None:
    """Read and print."""
    args = parse_args()
    hardware = Hardware(args.gpus, args.gpus_per_node, args.seconds_per_image)
    tables = {
        name: (table, rows_of(table, ROOT / 'configs', args.work_root, args.seed, hardware))
        for name, table in TABLES.items()
        if args.table in ('all', name)
    }
    every = [row for _, rows in tables.values() for row in rows]
    obstacles = [row.obstacle for row in every if row.obstacle]
    if obstacles and not any(row.plan for row in every):
        raise UserError(obstacles[0])
    if args.format == 'csv':
        print(to_csv(tables), end='')
        return
    if args.format == 'summary':
        text = to_summary(tables.values())
        if not text:
            raise UserError(f'no finished run below {args.work_root}.')
        print(text)
        return
    # A pipe has no width of its own and must not break the rows.
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    results, commands = args.show != 'commands', args.show != 'results'
    for table, rows in tables.values():
        if args.format == 'markdown':
            print(to_markdown(table, rows, results, commands))
        else:
            to_terminal(table, rows, console, results, commands)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
