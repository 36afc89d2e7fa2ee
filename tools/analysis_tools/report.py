"""Write one self-contained HTML page about a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from agvm_runs.errors import exit_with_sentence
from agvm_runs.report import MARK, read_run, render_page
from agvm_runs.work_dir import FileError, require_own, write_own


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
        raise FileError(str(error)) from error
    write_own(out, render_page(run), MARK)
    print(out)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
