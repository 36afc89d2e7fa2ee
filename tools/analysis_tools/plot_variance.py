"""Draw phi, noise scale, learning-rate scale and learning rate of every module over training."""

from __future__ import annotations

import argparse
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
# An installed package has the tools in its folder .mim.
PACKAGE = ROOT.parent if ROOT.name == '.mim' else ROOT / 'agvm_mm'
lazy = ModuleType('lazy')
SourceFileLoader('lazy', str(PACKAGE / 'launch' / 'lazy.py')).exec_module(lazy)
lazy.load_lazily(PACKAGE)

from agvm_mm.analysis import read_history  # noqa: E402
from agvm_mm.analysis.plot import LABELS, MARK, plot_histories  # noqa: E402
from agvm_mm.analysis.style import paths_of  # noqa: E402
from agvm_mm.launch.errors import LaunchError, exit_with_sentence  # noqa: E402


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
        raise LaunchError(str(error)) from error
    for path in plot_histories(histories, args.quantities, args.out):
        print(path)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
