"""The curriculum against its baseline, in miniature: same compute, several seeds, side by side.

python tools/analysis_tools/curriculum_benchmark.py detection work_dirs/curriculum
python tools/analysis_tools/curriculum_benchmark.py segmentation work_dirs/curriculum

Detection draws its own scenes; segmentation reads CamVid from $AGVM_MM_DATA/camvid. Both arms of a
seed run at the same time, one thread each, so that they meet the same machine. The result,
OUT/<task>.json, has every curve and what follows from them.
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

from agvm_mm.analysis.time_to_target import compare, summarise
from agvm_mm.launch.runner import load_config
from agvm_mm.launch.sweep import Training, run_all

ROOT = Path(__file__).resolve().parents[2]
TASKS = {
    'detection': ('coco/bbox_mAP', 'configs/faster_rcnn/faster-rcnn_r18_fpn_sgd{}_1xb8-12e_scenes'),
    'segmentation': ('mIoU', 'configs/sem_fpn/fpn_r18_sgd{}_1xb8-40e_camvid'),
}
ARMS = {'baseline': '', 'curriculum': '-curriculum'}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else '')
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('out', type=Path, help='folder for data, runs and the JSON file')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, help='of the baseline; else as configured')
    parser.add_argument('--train', type=int, default=400, help='scenes to draw')
    parser.add_argument('--size', type=int, default=128, help='side of a scene in pixels')
    parser.add_argument('--jobs', type=int, default=2, help='runs at the same time')
    return parser.parse_args()


def plan(args: argparse.Namespace, arm: str, seed: int) -> Training:
    """The training of one arm, with a clock."""
    path = ROOT / f'{TASKS[args.task][1].format(ARMS[arm])}.py'
    cfg = load_config(str(path))
    options: dict[str, Any] = {'custom_hooks': [*cfg.custom_hooks, dict(type='TrainingClockHook')]}
    if args.epochs is not None:
        options['train_cfg.max_epochs'] = args.epochs
        for i, entry in enumerate(cfg.param_scheduler):
            if entry.get('by_epoch', True):
                options[f'param_scheduler.{i}.end'] = args.epochs
    return Training(path, args.out.resolve() / f'{args.task}_{arm}_{seed}', seed, options)


def train(trainings: Iterable[Training], jobs: int) -> None:
    """Make the trainings that were not made before, each in a process of its own."""
    missing = [one for one in trainings if not (one.work_dir / 'done').exists()]
    for training in missing:
        (training.work_dir / 'curve.jsonl').unlink(missing_ok=True)
    for training, code in run_all(missing, jobs):
        if code:
            sys.exit(f'a run failed, see {training.work_dir}/output.txt')
        (training.work_dir / 'done').touch()


def read_curve(training: Training) -> list[dict[str, Any]]:
    """What the clock has written."""
    return [json.loads(line) for line in (training.work_dir / 'curve.jsonl').open()]


def draw_scenes(args: argparse.Namespace) -> None:
    """The data of the detection task, once."""
    folder = args.out.resolve() / 'scenes'
    if not folder.exists():
        tool = ROOT / 'tools' / 'dataset_converters' / 'generate_scenes.py'
        numbers = ['--train', args.train, '--val', 100, '--size', args.size, args.size]
        subprocess.run([sys.executable, str(tool), str(folder), *map(str, numbers)], check=True)


def main() -> None:
    """Run all arms, write the numbers, print what they say."""
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if args.task == 'detection':
        os.environ['AGVM_MM_DATA'] = str(args.out.resolve())
        draw_scenes(args)
    metric = TASKS[args.task][0]
    pairs = [(arm, seed) for seed in args.seeds for arm in ARMS]
    trainings = {pair: plan(args, *pair) for pair in pairs}
    train(trainings.values(), args.jobs)
    curves = {pair: read_curve(training) for pair, training in trainings.items()}
    found = [
        compare(curves['baseline', seed], curves['curriculum', seed], metric) for seed in args.seeds
    ]
    result = dict(
        task=args.task,
        metric=metric,
        settings={key: value for key, value in vars(args).items() if key != 'out'},
        runs=[dict(arm=arm, seed=seed, curve=curve) for (arm, seed), curve in curves.items()],
        comparisons=[dict(seed=seed, **one) for seed, one in zip(args.seeds, found)],
        summary=summarise(found),
    )
    (args.out / f'{args.task}.json').write_text(json.dumps(result, indent=1))
    print(json.dumps(result['summary'], indent=1))


if __name__ == '__main__':
    main()
