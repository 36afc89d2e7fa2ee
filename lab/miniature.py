"""Train the miniature recipes, some at a time, and keep one JSON file a run.

    python -m lab.miniature                          # every recipe of configs/miniature, 3 seeds
    python -m lab.miniature --recipes 'faster-rcnn*' --tune 5
    python -m lab.miniature --recipes '*_sgd_2xb8*' --total-batch-size 64 --scale-rule sqrt

Scenes are drawn first where they are missing, and then the weights are trained from which all runs
of a detector and dataset start. Recipes whose names end in _bccd or _camvid read $AGVM_MM_DATA/bccd
and $AGVM_MM_DATA/camvid (docs/recipes.md says where from), all others the scenes. A run whose file
is there is not repeated, so that the command can be stopped and given again. ``--tune`` searches
each recipe's learning rate about the one in its file with the given number of runs at most, and a
seed of its own; the best goes into the file by hand. ``--scale-rule`` takes the recipes to another
batch by a rule instead. ``--cfg-options`` changes every run and needs ``--results`` of its own. The
tables are printed by tools/reproduce.py, that of the rules by ``python -m lab.rule_cost``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch

from agvm_mm.launch.command_line import add_cfg_options, require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import load_config
from agvm_runs.errors import exit_with_sentence
from agvm_runs.reproduce import TABLES
from agvm_runs.work_dir import read_literals, read_result, score_of

from .trainings.results import distil, write_result
from .trainings.rules import RULES, rescaled
from .trainings.sweep import Training, run_all
from .trainings.tuning import next_rates

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'configs/miniature'
SCENES = '--train 1024 --val 256 --size 64 64 --objects 1 4 --seed 0'
RATE = 'optim_wrapper.optimizer.lr'
START_SEED, TUNING_SEED = 1000, 100
RESULTS = Path('docs/results/miniature')
FETCHED = ('bccd', 'camvid')
"""Datasets that are not drawn: folders of the data, and what the names of their recipes end in."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--recipes', nargs='+', default=['*'], help='patterns of names; default all'
    )
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0, 1, 2], help='a run for each; default 0 1 2'
    )
    parser.add_argument(
        '--tune', type=int, metavar='RUNS', help='search the learning rates, with 2 runs or more'
    )
    parser.add_argument(
        '--total-batch-size', type=int, metavar='B', help='images of an update, with --scale-rule'
    )
    parser.add_argument(
        '--scale-rule', choices=RULES, help='take the recipes to the batch of --total-batch-size'
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='runs at a time; default all cores'
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=RESULTS,
        help='JSON files; default %(default)s',
    )
    parser.add_argument(
        '--work-root',
        type=Path,
        default=Path('work_dirs/miniature'),
        help='work directories; default %(default)s',
    )
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Stop before anything is drawn or trained where a run could not be made.

    Raises:
        LaunchError: an argument is out of range, a pattern fits no recipe, or data are missing.
    """
    require_at_least(args, {'workers': 1, 'tune': 2, 'total_batch_size': 1})
    if (args.total_batch_size is None) != (args.scale_rule is None) or (
        args.scale_rule is not None and args.tune is not None
    ):
        raise LaunchError(
            '--total-batch-size and --scale-rule need each other, and exclude --tune: a rule takes '
            'the rate that was found at another batch.'
        )
    if args.cfg_options and args.results == RESULTS:
        raise LaunchError(
            f'--cfg-options changes the recipes, whose own results are in {RESULTS}: name another '
            'folder with --results.'
        )
    for pattern in args.recipes:
        if not chosen([pattern]):
            raise LaunchError(
                f'--recipes holds {pattern!r}, which fits no name in {FOLDER}: names are given '
                "without their folder and '.py', patterns such as 'faster-rcnn*_scenes' in quotes."
            )
    for recipe in chosen(args.recipes):
        folder = data_root() / recipe.stem.rpartition('_')[2]
        if folder.name in FETCHED and not folder.is_dir():
            raise LaunchError(
                f'{recipe.stem} reads {folder}, which does not exist: fetch it as docs/recipes.md '
                'says, set AGVM_MM_DATA to the folder that holds it, or name other --recipes.'
            )


def data_root() -> Path:
    """The folder below which all data lie, for this process and those that it starts."""
    return Path(os.environ.setdefault('AGVM_MM_DATA', str(Path('data').resolve())))


def draw_scenes() -> None:
    """The dataset; the generator leaves one that is there and refuses other scenes."""
    script = ROOT / 'tools/dataset_converters/generate_scenes.py'
    command = [sys.executable, str(script), str(data_root() / 'miniature'), *SCENES.split()]
    code = subprocess.run(command).returncode
    if code:
        sys.exit(code)  # it has said why


def chosen(patterns: Iterable[str]) -> list[Path]:
    """The recipes, by name."""
    return sorted({path for one in patterns for path in FOLDER.glob(f'{one}.py')})


def train_starts(args: argparse.Namespace) -> None:
    """The weights that recipes start from: those of SGD at batch 16 from random ones."""
    todo = {}
    recipes = map(str, chosen(args.recipes))
    for weights in sorted({Path(load_config(recipe).load_from) for recipe in recipes}):
        if not weights.is_file():
            model, _, data = weights.stem.rpartition('_')
            [recipe] = FOLDER.glob(f'{model}_sgd*_2xb8-256it_{data}.py')
            work_dir = args.work_root / f'start_{weights.stem}'
            todo[Training(recipe, work_dir, START_SEED, {'load_from': None})] = weights
    for training, code in run_all(todo, args.workers):
        if code:
            sys.exit(f'a run failed, see {training.work_dir}/output.txt')
        todo[training].parent.mkdir(exist_ok=True)
        [checkpoint] = training.work_dir.glob('iter_*.pth')
        shutil.move(checkpoint, todo[training])
        shutil.rmtree(training.work_dir)
        print(f'{todo[training]} is made', flush=True)


def plan(args: argparse.Namespace) -> dict[Training, Path]:
    """Trainings whose result is missing, with the result's path."""
    todo = {}
    for path in chosen(args.recipes):
        folder = args.results
        if args.tune is not None:
            folder = args.results / 'tuning'
            runs = {
                f'{path.stem}_lr{rate:.3g}_seed{TUNING_SEED}': (TUNING_SEED, {RATE: rate})
                for rate in rates(path, folder, args.tune)
            }
        elif args.scale_rule is not None:
            name = f'{path.stem}_{args.scale_rule}_{args.total_batch_size}'
            options = rescaled(load_config(str(path)), args.scale_rule, args.total_batch_size)
            runs = {f'{name}_seed{seed}': (seed, options) for seed in args.seeds}
        else:
            runs = {f'{path.stem}_seed{seed}': (seed, {}) for seed in args.seeds}
        for name, (seed, options) in runs.items():
            result = folder / f'{name}.json'
            if not result.exists():
                given = {**(args.cfg_options or {}), **options}
                todo[Training(path, args.work_root / name, seed, given)] = result
    return todo


def rates(path: Path, folder: Path, budget: int) -> list[float]:
    """Learning rates of a recipe to try next, from the results of those that were tried."""
    key = next(table.key for table in TABLES.values() if any(map(path.match, table.recipes)))
    results = [read_result(one) for one in folder.glob(f'{path.stem}_lr*_seed{TUNING_SEED}.json')]
    tried = {one['cfg_options'][RATE]: score_of(one['scores'], key) for one in results}
    return next_rates(tried, load_config(str(path)).optim_wrapper.optimizer.lr, budget)


def trained_rate(work_dir: Path) -> float:
    """The learning rate by the config that the run itself has written."""
    written = max(work_dir.glob('*/vis_data/config.py'))
    return float(read_literals(written.read_text())['optim_wrapper']['optimizer']['lr'])


def train(todo: dict[Training, Path], workers: int) -> int:
    """Make the runs and keep their results; how many failed."""
    failed, start = 0, time.monotonic()
    for done, (training, code) in enumerate(run_all(todo, workers), 1):
        outcome = f'failed, see {training.work_dir}/output.txt'
        if code == 0:
            result = distil(
                training.work_dir,
                config=str(training.config.relative_to(ROOT)),
                seed=training.seed,
                cfg_options=training.cfg_options,
                lr=trained_rate(training.work_dir),
                torch=torch.__version__,
            )
            write_result(todo[training], result)
            shutil.rmtree(training.work_dir)
            outcome = str(result['scores'])
        failed += code != 0
        minutes = (time.monotonic() - start) / 60
        name = todo[training].stem
        print(f'[{done}/{len(todo)}, {minutes:.0f} min] {name}: {outcome}', flush=True)
    return failed


def main() -> None:
    """Train what is missing; exit with 1 if a run failed."""
    args = parse_args()
    check(args)
    torch.set_num_threads(1)
    draw_scenes()
    train_starts(args)
    while todo := plan(args):
        if train(todo, args.workers):
            sys.exit(1)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
