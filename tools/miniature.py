"""Train the miniature recipes, some at a time, and keep one JSON file a run.

    python tools/miniature.py                          # every recipe of configs/miniature, 3 seeds
    python tools/miniature.py --recipes 'faster-rcnn*' --tune 0.5 1 2 4

Scenes are drawn first where they are missing. A run whose file is there is not repeated, so that
the command can be stopped and given again. ``--tune`` tries each recipe's learning rate times the
given numbers, with a seed of its own. The tables are printed by tools/reproduce.py.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config

from agvm_mm.launch.sweep import Training, run_all
from agvm_mm.reproduce.results import distil, write_result

ROOT = Path(__file__).resolve().parents[1]
SCENES = '--train 1024 --val 256 --size 64 64 --objects 1 4 --seed 0'
RATE = 'optim_wrapper.optimizer.lr'
TUNING_SEED = 100


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--recipes', nargs='+', default=['*'], help='patterns of their names')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='a run for each')
    parser.add_argument('--tune', type=float, nargs='+', metavar='TIMES', help='try other rates')
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


def plan(args: argparse.Namespace) -> Iterator[tuple[Training, Path]]:
    """Trainings whose result is missing, with the result's path."""
    found = {path for one in args.recipes for path in ROOT.glob(f'configs/miniature/{one}.py')}
    for seed in [TUNING_SEED] if args.tune else args.seeds:
        for path in sorted(found):
            written = Config.fromfile(path).optim_wrapper.optimizer.lr
            for rate in [written * times for times in args.tune] if args.tune else [None]:
                name, folder = f'{path.stem}_seed{seed}', args.results
                if rate is not None:
                    name, folder = f'{path.stem}_lr{rate:.3g}_seed{seed}', args.results / 'tuning'
                result = folder / f'{name}.json'
                if not result.exists():
                    options = {} if rate is None else {RATE: rate}
                    yield Training(path, args.work_root / name, seed, options), result


def main() -> None:
    """Train what is missing; exit with 1 if a run failed."""
    args = parse_args()
    torch.set_num_threads(1)
    draw_scenes()
    todo = dict(plan(args))
    failed, start = 0, time.time()
    for done, (training, code) in enumerate(run_all(todo, args.workers), 1):
        outcome = f'failed, see {training.work_dir}/output.txt'
        if code == 0:
            result = distil(
                training.work_dir,
                config=str(training.config.relative_to(ROOT)),
                seed=training.seed,
                cfg_options=training.cfg_options,
                torch=torch.__version__,
            )
            write_result(todo[training], result)
            shutil.rmtree(training.work_dir)
            outcome = str(result['scores'])
        failed += code != 0
        minutes = (time.time() - start) / 60
        name = todo[training].stem
        print(f'[{done}/{len(todo)}, {minutes:.0f} min] {name}: {outcome}', flush=True)
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
