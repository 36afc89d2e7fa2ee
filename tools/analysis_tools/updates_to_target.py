"""Train several recipes with several seeds and count the updates to one loss and one score.

    python tools/analysis_tools/updates_to_target.py SGD_CONFIG KFAC_CONFIG AGVM_CONFIG \
        --loss 1.0 --score 0.1 --out course.json

The first recipe is the baseline. One process; a recipe for several accumulates gradients. Runs that
are in the file of --out already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

from agvm_mm.analysis.targets import Course, CourseHook, summarize, to_markdown
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training

Run = tuple[str, int]
"""Recipe and seed."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', type=Path)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--loss', type=float, required=True, help='mean over --window updates')
    parser.add_argument('--window', type=int, default=10)
    parser.add_argument('--score', type=float, required=True)
    parser.add_argument('--total-batch-size', type=int, help='of every recipe; else as configured')
    parser.add_argument('--metric', default='coco/bbox_mAP', help='of validation')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for all numbers')
    return parser.parse_args()


def train(config: Path, seed: int, args: argparse.Namespace) -> Course:
    """One run, its work directory thrown away."""
    course = Course(config.stem, seed)
    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config(str(config), work_dir=folder)
        cfg.experiment_name = f'{config.stem}_{seed}'  # runs of one second would share their logs
        cfg.default_hooks.checkpoint = None
        cfg.visualizer.vis_backends = []  # one visualizer serves all runs of a process
        options = TrainOptions(seed=seed, total_batch_size=args.total_batch_size)
        runner = build_runner(cfg, prepare_training(cfg, options))
        MMLogger.get_current_instance().setLevel(logging.WARNING)
        runner.register_hook(CourseHook(course, args.metric))
        runner.train()
    return course


def kept(path: Path) -> list[Course]:
    """The runs in the file of an earlier call; none if there is no file."""
    if not path.exists():
        return []
    return [Course(**run) for run in json.loads(path.read_text())['runs']]


def save(
    args: argparse.Namespace, courses: dict[Run, Course], wanted: Iterable[Run]
) -> list[dict[str, Any]]:
    """Write all runs there are; returns what those of this call say."""
    done = [courses[run] for run in wanted if run in courses]
    rows = summarize(done, args.loss, args.score, args.window)
    content = {
        'loss': args.loss,
        'score': args.score,
        'metric': args.metric,
        'window': args.window,
        'summary': rows,
        'runs': [asdict(course) for course in courses.values()],
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(content))
    return rows


def main() -> None:
    """Train what the file lacks, write after every run, print the table."""
    args = parse_args()
    configs = {(config.stem, seed): config for seed in args.seeds for config in args.configs}
    courses = {(course.recipe, course.seed): course for course in kept(args.out)}
    for (name, seed), config in configs.items():
        if (name, seed) not in courses:
            course = courses[name, seed] = train(config, seed, args)
            save(args, courses, configs)
            print(f'{name}, seed {seed}: loss {course.losses[-1]:.4f}', flush=True)
    print(to_markdown(save(args, courses, configs)))  # the targets may be new where no run is


if __name__ == '__main__':
    main()
