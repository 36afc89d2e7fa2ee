"""The curriculum against its baseline, in miniature: same compute, several seeds, side by side.

python -m lab.curriculum_benchmark detection work_dirs/curriculum
python -m lab.curriculum_benchmark segmentation work_dirs/curriculum

Detection draws its own scenes; segmentation reads CamVid from $AGVM_MM_DATA/camvid. Both arms of a
seed run at the same time, one thread each, so that they meet the same machine. The result,
OUT/<task>.json, has every curve and what follows from them; OUT/<task>.png shows the curves. Runs
that OUT holds already are not repeated; those of other settings are refused.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from agvm_mm.launch.command_line import require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import load_config
from agvm_runs.errors import exit_with_sentence
from agvm_runs.work_dir import require_own, write_own

from .curves.curve_plot import plot_curves
from .curves.time_to_target import compare, summarise
from .trainings.settings import setting_text
from .trainings.sweep import Training, run_all

CLOCK = 'lab.curves.training_clock.TrainingClockHook'
FORMAT = 'agvm_mm curriculum benchmark 1'
ROOT = Path(__file__).resolve().parents[1]
TASKS = {
    'detection': ('coco/bbox_mAP', 'configs/faster_rcnn/faster-rcnn_r18_fpn_sgd{}_1xb8-12e_scenes'),
    'segmentation': ('mIoU', 'configs/sem_fpn/fpn_r18_sgd{}_1xb8-40e_camvid'),
}
PANELS = {
    'detection': {
        'coco/bbox_mAP': 'box AP',
        'coco/bbox_mAP_s': 'box AP, small objects',
        'coco/bbox_mAP_m': 'box AP, medium objects',
    },
    'segmentation': {'mIoU': 'mIoU'},
}
ARMS = {'baseline': '', 'curriculum': '-curriculum'}
# What changes a run; the segmenter's images are not drawn.
SETTINGS = {'detection': ('epochs', 'train', 'size'), 'segmentation': ('epochs',)}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else '')
    parser.add_argument('task', choices=TASKS, help='what is trained')
    parser.add_argument('out', type=Path, help='folder for data, runs and the JSON file')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0, 1, 2], help='a pair for each; default 0 1 2'
    )
    parser.add_argument('--epochs', type=int, help='of the baseline; else as configured')
    parser.add_argument('--train', type=int, default=400, help='scenes to draw')
    parser.add_argument('--size', type=int, default=128, help='side of a scene in pixels')
    parser.add_argument('--jobs', type=int, default=2, help='runs at the same time')
    return parser.parse_args()


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the runs of this call depend on, but for arm and seed."""
    return {key: getattr(args, key) for key in SETTINGS[args.task]}


def plan(args: argparse.Namespace, arm: str, seed: int) -> Training:
    """The training of one arm, with a clock."""
    path = ROOT / f'{TASKS[args.task][1].format(ARMS[arm])}.py'
    cfg = load_config(str(path))
    options: dict[str, Any] = {'custom_hooks': [*cfg.custom_hooks, dict(type=CLOCK)]}
    if args.epochs is not None:
        options['train_cfg.max_epochs'] = args.epochs
        for i, entry in enumerate(cfg.param_scheduler):
            if entry.get('by_epoch', True):
                options[f'param_scheduler.{i}.end'] = args.epochs
    return Training(path, args.out.resolve() / f'{args.task}_{arm}_{seed}', seed, options)


def made_with(training: Training) -> dict[str, Any] | None:
    """Settings of a run that was made before, None without one; older releases kept none."""
    path = training.work_dir / 'done'
    if not path.exists():
        return None
    return dict(json.loads(path.read_text() or '{}'))


def check(args: argparse.Namespace, trainings: Iterable[Training]) -> None:
    """Stop before the first run where one could not be made or would not be comparable.

    Raises:
        LaunchError: an argument is out of range, data are missing, or a run has other settings.
    """
    require_at_least(args, {'jobs': 1, 'epochs': 1})
    require_own(args.out / f'{args.task}.json', FORMAT)
    camvid = Path(os.environ.get('AGVM_MM_DATA', 'data'), 'camvid')
    if args.task == 'segmentation' and not camvid.is_dir():
        raise LaunchError(f'{camvid} does not exist: set AGVM_MM_DATA to the folder with camvid.')
    for training in trainings:
        for key, was in (made_with(training) or {}).items():
            now = settings(args).get(key)
            if was != now:
                raise LaunchError(
                    f'--{key} is {setting_text(now)} and the run in {training.work_dir} was made '
                    f'with {setting_text(was)}: give the same, or another folder for OUT.'
                )


def train(trainings: Iterable[Training], jobs: int, made: dict[str, Any]) -> None:
    """Make the trainings that were not made before, with the settings ``made``."""
    missing = [one for one in trainings if made_with(one) is None]
    for training in missing:
        (training.work_dir / 'curve.jsonl').unlink(missing_ok=True)
    for training, code in run_all(missing, jobs):
        if code:
            sys.exit(f'a run failed, see {training.work_dir}/output.txt')
        (training.work_dir / 'done').write_text(json.dumps(made))


def read_curve(training: Training) -> list[dict[str, Any]]:
    """What the clock has written."""
    return [json.loads(line) for line in (training.work_dir / 'curve.jsonl').open()]


def draw_scenes(args: argparse.Namespace) -> None:
    """The data of the detection task; the generator keeps its own and refuses other scenes."""
    tool = ROOT / 'tools' / 'dataset_converters' / 'generate_scenes.py'
    numbers = ['--train', args.train, '--val', 100, '--size', args.size, args.size]
    command = [sys.executable, tool, args.out.resolve() / 'scenes', *numbers]
    code = subprocess.run(list(map(str, command))).returncode
    if code:
        sys.exit(code)  # it has said why


def main() -> None:
    """Run all arms, write the numbers, print what they say."""
    args = parse_args()
    torch.set_num_threads(1)
    if args.task == 'detection':
        os.environ['AGVM_MM_DATA'] = str(args.out.resolve())
    pairs = [(arm, seed) for seed in args.seeds for arm in ARMS]
    trainings = {pair: plan(args, *pair) for pair in pairs}
    check(args, trainings.values())
    args.out.mkdir(parents=True, exist_ok=True)
    if args.task == 'detection':
        draw_scenes(args)
    train(trainings.values(), args.jobs, settings(args))
    metric = TASKS[args.task][0]
    curves = {pair: read_curve(training) for pair, training in trainings.items()}
    found = [
        compare(curves['baseline', seed], curves['curriculum', seed], metric) for seed in args.seeds
    ]
    result = dict(
        format=FORMAT,
        task=args.task,
        metric=metric,
        settings={key: value for key, value in vars(args).items() if key != 'out'},
        runs=[
            dict(arm=arm, seed=seed, settings=made_with(trainings[arm, seed]), curve=curve)
            for (arm, seed), curve in curves.items()
        ],
        comparisons=[dict(seed=seed, **one) for seed, one in zip(args.seeds, found)],
        summary=summarise(found),
    )
    write_own(args.out / f'{args.task}.json', json.dumps(result, indent=1), FORMAT)
    plot_curves(result['runs'], PANELS[args.task], args.out / args.task)
    print(json.dumps(result['summary'], indent=1))


if __name__ == '__main__':
    with exit_with_sentence():
        main()
