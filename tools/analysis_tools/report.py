"""Write one self-contained HTML page about a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from agvm_mm.analysis.page import read_run, render_page
from agvm_mm.launch.errors import LaunchError, exit_with_sentence


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='work directory of a run, finished or not')
    parser.add_argument('--out', type=Path, help='default: report.html in the work directory')
    return parser.parse_args()


def main() -> None:
    """Read, write, say where."""
    args = parse_args()
    try:
        run = read_run(args.work_dir)
    except FileNotFoundError as error:
        raise LaunchError(str(error)) from error
    out = args.out or Path(args.work_dir) / 'report.html'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render_page(run), encoding='utf-8')
    print(out)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
