"""Draw phi, noise scale, learning-rate scale and learning rate of every module over training."""

from __future__ import annotations

import argparse

from agvm_runs.curves import read_history
from agvm_runs.curves.plot import LABELS, MARK, plot_histories
from agvm_runs.errors import exit_with_sentence
from agvm_runs.style import paths_of
from agvm_runs.work_dir import FileError


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'runs', nargs='+', help='work directories or results as JSON, one column each'
    )
    parser.add_argument('--out', default='variance', help='path without suffix; PNG and SVG')
    parser.add_argument(
        '--quantities', nargs='+', choices=list(LABELS), default=list(LABELS), help='rows'
    )
    return parser.parse_args()


def main() -> None:
    """Read, draw, say where."""
    args = parse_args()
    paths_of(args.out, MARK)
    try:
        histories = [read_history(run) for run in args.runs]
    except FileNotFoundError as error:
        raise FileError(str(error)) from error
    for path in plot_histories(histories, args.quantities, args.out):
        print(path)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
