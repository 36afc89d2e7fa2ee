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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agvm_mm.analysis.time_to_target import compare, summarise
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training

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
    parser.add_argument('--one', choices=ARMS, help='train one arm with the first seed, then end')
    return parser.parse_args()


def train(args: argparse.Namespace) -> None:
    """Train one arm in this process, as tools/train.py would."""
    path = ROOT / f'{TASKS[args.task][1].format(ARMS[args.one])}.py'
    cfg = load_config(str(path), work_dir=str(args.out))
    if args.epochs is not None:
        cfg.train_cfg.max_epochs = args.epochs
        for entry in cfg.param_scheduler:
            if entry.get('by_epoch', True):
                entry['end'] = args.epochs
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='TrainingClockHook')]
    runner = build_runner(cfg, prepare_training(cfg, TrainOptions(seed=args.seeds[0])))
    runner.train()


def launch(args: argparse.Namespace, arm: str, seed: int) -> list[dict[str, Any]]:
    """Train one arm in a process of its own, unless it was before, and return its curve."""
    work_dir = args.out.resolve() / f'{args.task}_{arm}_{seed}'
    curve, done = work_dir / 'curve.jsonl', work_dir / 'done'
    if not done.exists():
        work_dir.mkdir(parents=True, exist_ok=True)
        curve.unlink(missing_ok=True)
        command = [sys.executable, __file__, args.task, str(work_dir), '--one', arm]
        command += ['--seeds', str(seed)]
        command += [] if args.epochs is None else ['--epochs', str(args.epochs)]
        data = {'AGVM_MM_DATA': str(args.out.resolve())} if args.task == 'detection' else {}
        paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
        threads = {'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(filter(None, paths))}
        with (work_dir / 'output.txt').open('w') as output:
            subprocess.run(
                command,
                env={**os.environ, **threads, **data},
                check=True,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        done.touch()
    return [json.loads(line) for line in curve.read_text().splitlines()]


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
    if args.one is not None:
        train(args)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    if args.task == 'detection':
        draw_scenes(args)
    metric = TASKS[args.task][0]
    pairs = [(arm, seed) for seed in args.seeds for arm in ARMS]
    with ThreadPoolExecutor(args.jobs) as pool:
        curves = dict(zip(pairs, pool.map(lambda pair: launch(args, *pair), pairs)))
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
