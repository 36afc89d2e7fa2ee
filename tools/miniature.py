"""Train the miniature recipes, some at a time, and keep one JSON file a run.

    python tools/miniature.py                          # every recipe of configs/miniature, 3 seeds
    python tools/miniature.py --recipes 'faster-rcnn*' --tune 5

Scenes are drawn first where they are missing, and then the weights are trained from which all runs
of a detector and dataset start. A run whose file is there is not repeated, so that
the command can be stopped and given again. ``--tune`` searches each recipe's learning rate about
the one in its file with the given number of runs at most, and a seed of its own; the best goes into
the file by hand. The tables are printed by tools/reproduce.py.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from mmengine.config import Config

from agvm_mm.launch.sweep import Training, run_all
from agvm_mm.launch.tuning import next_rates
from agvm_mm.reproduce import TABLES
from agvm_mm.work_dir import distil, read_literals, read_result, score_of, write_result

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'configs/miniature'
SCENES = '--train 1024 --val 256 --size 64 64 --objects 1 4 --seed 0'
RATE = 'optim_wrapper.optimizer.lr'
START_SEED, TUNING_SEED = 1000, 100


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--recipes', nargs='+', default=['*'], help='patterns of their names')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='a run for each')
    parser.add_argument('--tune', type=int, metavar='RUNS', help='search the learning rates')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='runs at a time')
    parser.add_argument(
        '--results', type=Path, default=Path('docs/results/miniature'), help='JSON files'
    )
    parser.add_argument(
        '--work-root', type=Path, default=Path('work_dirs/miniature'), help='work directories'
    )
    return parser.parse_args()


def draw_scenes() -> None:
    """The dataset, where it is not there yet."""
    folder = Path(os.environ.setdefault('AGVM_MM_DATA', str(Path('data').resolve()))) / 'miniature'
    if not (folder / 'annotations').is_dir():
        script = ROOT / 'tools/dataset_converters/generate_scenes.py'
        subprocess.run([sys.executable, script, folder, *SCENES.split()], check=True)


def chosen(args: argparse.Namespace) -> list[Path]:
    """The recipes, by name."""
    return sorted({path for one in args.recipes for path in FOLDER.glob(f'{one}.py')})


def train_starts(args: argparse.Namespace) -> None:
    """The weights that recipes start from: those of SGD at batch 16 from random ones."""
    todo = {}
    for weights in sorted({Path(Config.fromfile(path).load_from) for path in chosen(args)}):
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
    for path in chosen(args):
        if args.tune:
            folder = args.results / 'tuning'
            runs = {
                f'{path.stem}_lr{rate:.3g}_seed{TUNING_SEED}': (TUNING_SEED, {RATE: rate})
                for rate in rates(path, folder, args.tune)
            }
        else:
            folder = args.results
            runs = {f'{path.stem}_seed{seed}': (seed, {}) for seed in args.seeds}
        for name, (seed, options) in runs.items():
            result = folder / f'{name}.json'
            if not result.exists():
                todo[Training(path, args.work_root / name, seed, options)] = result
    return todo


def rates(path: Path, folder: Path, budget: int) -> list[float]:
    """Learning rates of a recipe to try next, from the results of those that were tried."""
    key = next(table.key for table in TABLES.values() if any(map(path.match, table.patterns)))
    results = [read_result(one) for one in folder.glob(f'{path.stem}_lr*_seed{TUNING_SEED}.json')]
    tried = {one['cfg_options'][RATE]: score_of(one['scores'], key) for one in results}
    return next_rates(tried, Config.fromfile(path).optim_wrapper.optimizer.lr, budget)


def trained_rate(work_dir: Path) -> float:
    """The learning rate by the config that the run itself has written."""
    written = max(work_dir.glob('*/vis_data/config.py'))
    return float(read_literals(written.read_text())['optim_wrapper']['optimizer']['lr'])


def train(todo: dict[Training, Path], workers: int) -> int:
    """Make the runs and keep their results; how many failed."""
    failed, start = 0, time.time()
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
        minutes = (time.time() - start) / 60
        name = todo[training].stem
        print(f'[{done}/{len(todo)}, {minutes:.0f} min] {name}: {outcome}', flush=True)
    return failed


def main() -> None:
    """Train what is missing; exit with 1 if a run failed."""
    args = parse_args()
    torch.set_num_threads(1)
    draw_scenes()
    train_starts(args)
    while todo := plan(args):
        if train(todo, args.workers):
            sys.exit(1)


if __name__ == '__main__':
    main()
