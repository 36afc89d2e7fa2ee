"""The critical batch at a checkpoint, measured by branches at several batches.

From the checkpoint the config is trained for the same images at multiples of its batch, several
times each. The learning rate follows --scale-rule and is constant. The critical batch is the
largest whose training loss at the end is that of the smallest, within a tolerance. The noise
scales that the run logged with AGVM are printed beside it. A branch whose file is in --out is not
trained again, and a folder of branches in the place of the config trains nothing. Source: Merrill
et al. 2025, arXiv:2505.23971.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import agvm_mm  # noqa: F401  registers what configs name
from agvm_mm.branches.plan import Plan, branch_config, make_plan
from agvm_mm.branches.train import settings_of, train_branch
from agvm_mm.launch.command_line import add_cfg_options, require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.rescale.recipe import SOURCES
from agvm_runs.branches.critical import critical_batch, levels
from agvm_runs.branches.kept import keep, path_of, read, read_all, require_same
from agvm_runs.branches.summary import (
    FORMAT,
    keep_noise,
    kept_noise,
    to_json,
    to_markdown,
)
from agvm_runs.curves.history import History, read_history
from agvm_runs.curves.noise import noise_scales
from agvm_runs.errors import exit_with_sentence
from agvm_runs.work_dir import require_own, write_own


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a training config, or the folder of an earlier call')
    parser.add_argument('checkpoint', nargs='?', help='a checkpoint of a run of that config')
    parser.add_argument(
        '--factors', nargs='+', type=int, default=[1, 2, 4, 8, 16, 32], metavar='TIMES',
        help="multiples of the config's batch; default 1 2 4 8 16 32",
    )  # fmt: skip
    parser.add_argument(
        '--images', type=int, help='of a branch; default 32 updates of the largest batch'
    )
    parser.add_argument(
        '--window', type=int,
        help='images at the end over which the loss is averaged; default a quarter of --images',
    )  # fmt: skip
    parser.add_argument(
        '--seeds', nargs='+', type=int, default=[0, 1, 2],
        help='orders of the data, a branch each at every batch; default 0 1 2',
    )  # fmt: skip
    parser.add_argument(
        '--scale-rule', choices=list(SOURCES),
        help='of the learning rate; default linear for SGD and sqrt for every other optimizer',
    )  # fmt: skip
    parser.add_argument(
        '--lr', type=float,
        help="learning rate at the config's batch; default the config's, without its schedule",
    )  # fmt: skip
    parser.add_argument(
        '--tolerance', type=float, default=0.01,
        help='share of the loss by which it may grow; default %(default)s',
    )  # fmt: skip
    parser.add_argument(
        '--run', type=Path,
        help="work directory with AGVM's log of the run; default the folder of the checkpoint",
    )  # fmt: skip
    parser.add_argument(
        '--out', type=Path,
        help='folder of the branches; default work_dirs/critical_batch/<config>_<checkpoint>',
    )  # fmt: skip
    parser.add_argument('--json', type=Path, help='file for all numbers')
    add_cfg_options(parser)
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Stop where an argument is out of range.

    Raises:
        LaunchError: names the option.
        FileError: the file of --json holds something else.
    """
    require_at_least(args, {'factors': 1, 'images': 1, 'window': 1, 'seeds': 0})
    for name in ('factors', 'seeds'):
        values = getattr(args, name)
        if len(set(values)) < len(values):
            raise LaunchError(f'--{name} names {max(values, key=values.count)} twice.')
    if len(args.factors) < 2:
        raise LaunchError('--factors needs at least two multiples to compare.')
    for name in ('lr', 'tolerance'):
        value = getattr(args, name)
        if value is not None and not 0 < value < float('inf'):
            raise LaunchError(f'--{name} is {value}; allowed is a number above 0.')
    if args.json is not None:
        require_own(args.json, FORMAT)


def history_of(args: argparse.Namespace) -> History | None:
    """What the run logged up to now; None where nothing names a run or its log.

    Raises:
        FileNotFoundError: the folder of --run has no log with AGVM's curves.
    """
    if args.run is not None:
        return read_history(args.run)
    try:
        return None if args.checkpoint is None else read_history(Path(args.checkpoint).parent)
    except FileNotFoundError:
        return None


def plan_of(args: argparse.Namespace) -> tuple[Plan, Path]:
    """The plan of the command line and the folder of its branches, both checked.

    Raises:
        LaunchError: a branch cannot be made.
        FileError: the folder holds branches of another plan.
    """
    if args.checkpoint is None:
        raise LaunchError('a config needs a checkpoint to branch from as the second argument.')
    plan = make_plan(
        args.config, args.checkpoint, args.factors, args.images, args.window,
        args.scale_rule, args.lr, args.cfg_options,
    )  # fmt: skip
    name = f'{Path(args.config).stem}_{Path(args.checkpoint).stem}'
    folder = args.out or Path('work_dirs/critical_batch') / name
    for factor in args.factors:
        for path in (path_of(folder, factor, seed) for seed in args.seeds):
            if path.exists():
                require_same(path, read(path), settings_of(plan))
        branch_config(plan, factor, args.seeds[0], str(folder))
    return plan, folder


def train(args: argparse.Namespace) -> Path:
    """Make the branches that are missing; the folder of them all."""
    plan, folder = plan_of(args)
    said: set[str] = set()
    for seed in args.seeds:
        for factor in args.factors:
            if path_of(folder, factor, seed).exists():
                continue
            branch, notes = train_branch(plan, factor, seed)
            keep(folder, branch)
            for note in notes:
                if note.text not in said:
                    print(note.text)
                said.add(note.text)
            print(f'batch {branch.batch}, seed {seed}: loss {branch.loss:.4f}', flush=True)
    return folder


def main() -> None:
    """Train what is missing, print the tables, write the JSON."""
    args = parse_args()
    is_folder = Path(args.config).is_dir()
    try:
        check(args)
        history = history_of(args)
        folder = Path(args.config) if is_folder else train(args)
        branches = read_all(folder)
        if not is_folder:
            branches = [
                one for one in branches if one.factor in args.factors and one.seed in args.seeds
            ]
        if history is not None:
            keep_noise(folder, noise_scales(history, branches[0].iteration))
        noise = kept_noise(folder)
    except (OSError, ValueError) as error:
        raise LaunchError(str(error)) from error
    found = levels(branches)
    critical = critical_batch(found, args.tolerance)
    print(to_markdown(found, critical, noise, args.tolerance))
    if args.json is not None:
        result = to_json(found, critical, noise, args.tolerance, branches[0].settings)
        write_own(args.json, json.dumps(result, indent=1), FORMAT)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
