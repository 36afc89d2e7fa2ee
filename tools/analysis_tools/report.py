"""Write one self-contained HTML page about a run."""

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

from agvm_mm.analysis.page import MARK, read_run, render_page  # noqa: E402
from agvm_mm.launch.errors import LaunchError, exit_with_sentence  # noqa: E402
from agvm_runs.work_dir import require_own, write_own  # noqa: E402


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='work directory of a run, finished or not')
    parser.add_argument('--out', type=Path, help='default: report.html in the work directory')
    return parser.parse_args()


def main() -> None:
    """Read, write, say where."""
    args = parse_args()
    out = args.out or Path(args.work_dir) / 'report.html'
    require_own(out, MARK)
    try:
        run = read_run(args.work_dir)
    except FileNotFoundError as error:
        raise LaunchError(str(error)) from error
    write_own(out, render_page(run), MARK)
    print(out)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
