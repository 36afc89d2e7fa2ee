"""Train a small Faster R-CNN for long on CPU ranks, with faults, and see what is left.

    python -m lab.soak --updates 2000 --ranks 3 --out soak.json

Losses become NaN on one rank, batches lose their objects, and all ranks are killed and started
again from the last checkpoint, as the seed wants it. The exit code is 1 if the ranks' weights
differ, memory grows, or scales and counters are not what they should be. ``--method kfac`` puts
K-FAC before SGD, ``--method muon`` puts Muon in its place.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, fields
from pathlib import Path

import agvm_mm  # noqa: F401  registers what configs name
from agvm_runs.errors import exit_with_sentence
from agvm_runs.work_dir import require_own, write_own

from .faults.launch import SoakError, run
from .faults.plan import METHODS, Options
from .faults.summary import judge, markdown

FORMAT = 'agvm_mm soak 1'

HELP = {
    '--updates': 'length of the run',
    '--ranks': 'processes',
    '--images': 'of a rank in an update',
    '--save': 'updates between checkpoints',
    '--check': 'updates between looks at weights, memory and scales',
    '--kills': 'of all ranks, in the first half of the run',
    '--nan': 'share of updates with a NaN loss on one rank',
    '--empty': 'share of updates in which ranks see no object',
    '--seed': 'of the faults, the data and the weights',
}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, text in HELP.items():
        default = getattr(Options, option[2:])
        parser.add_argument(option, type=type(default), default=default, help=text)
    parser.add_argument(
        '--method', choices=METHODS, default=Options.method, help='what AGVM trains with'
    )
    parser.add_argument('--compare', action='store_true', help='run again without the kills')
    parser.add_argument('--growth', type=float, default=5.0, help='percent memory may grow')
    parser.add_argument('--work-dir', type=Path, help='new folder that is kept; default: none is')
    parser.add_argument('--out', type=Path, help='JSON file for findings and records')
    return parser.parse_args()


def main() -> int:
    """Make the run, print the table and judge."""
    args = parse_args()
    if args.out is not None:
        require_own(args.out, FORMAT)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work_dir = args.work_dir or Path(folder)
        try:
            options = Options(
                **{field.name: getattr(args, field.name) for field in fields(Options)}
            )
            records, killed = run(work_dir / 'killed', options)
            reference = run(work_dir / 'whole', options, kill=False)[0] if args.compare else None
        except (SoakError, ValueError) as error:
            print(f'error: {error}', file=sys.stderr)
            return 1
    findings = judge(options, records, killed, reference, args.growth)
    seconds = round(time.monotonic() - start)
    print(markdown(findings))
    print(f'\n{seconds} s, seed {options.seed}')
    if args.out is not None:
        content = {
            'format': FORMAT,
            'options': asdict(options),
            'seconds': seconds,
            'findings': [asdict(finding) for finding in findings],
            'records': records,
        }
        write_own(args.out, json.dumps(content, indent=1) + '\n', FORMAT)
    return int(not all(finding.holds for finding in findings))


if __name__ == '__main__':
    with exit_with_sentence():
        sys.exit(main())
