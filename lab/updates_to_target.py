"""Train several recipes with several seeds and count the updates to one loss and one score.

    python -m lab.updates_to_target SGD_CONFIG KFAC_CONFIG AGVM_CONFIG \
        --loss 1.0 --score 0.1 --out course.json

The first recipe is the baseline. One process; a recipe for several accumulates gradients. Runs that
are in the file of --out already are not repeated; those of other settings are refused.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

from agvm_mm.launch.command_line import add_cfg_options, require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training
from agvm_runs.errors import exit_with_sentence
from agvm_runs.work_dir import read_json, require_own, write_own

from .curves.curve_plot import plot_courses
from .curves.targets import Course, CourseHook, summarize, to_markdown
from .trainings.settings import setting_text

Run = tuple[str, int]
"""Recipe and seed."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', type=Path, help='training configs')
    parser.add_argument(
        '--seeds', nargs='+', type=int, default=[0, 1, 2], help='a run for each; default 0 1 2'
    )
    parser.add_argument('--loss', type=float, required=True, help='mean over --window updates')
    parser.add_argument(
        '--window', type=int, default=10, help='updates of that mean; default %(default)s'
    )
    parser.add_argument('--score', type=float, required=True, help='of --metric, to be reached')
    parser.add_argument('--total-batch-size', type=int, help='of every recipe; else as configured')
    add_cfg_options(parser)
    parser.add_argument('--metric', default='coco/bbox_mAP', help='of validation')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for all numbers')
    parser.add_argument('--figure', type=Path, help='path without suffix; PNG and SVG')
    return parser.parse_args()


def plan(args: argparse.Namespace) -> dict[Run, Path]:
    """The config of every run.

    Raises:
        LaunchError: two configs have one name, by which runs are told apart.
    """
    by_name: dict[str, Path] = {}
    for config in args.configs:
        if by_name.setdefault(config.stem, config) != config:
            raise LaunchError(
                f'{by_name[config.stem]} and {config} have one name, by which runs are told apart: '
                'rename one.'
            )
    return {(name, seed): config for seed in args.seeds for name, config in by_name.items()}


def made_with(config: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What a run of this call depends on, but for the seed."""
    return {
        'config': os.path.relpath(config),
        'metric': args.metric,
        'total_batch_size': args.total_batch_size,
        'cfg_options': json.loads(json.dumps(args.cfg_options or None)),  # as in the file
    }


def check(
    args: argparse.Namespace, configs: Mapping[Run, Path], courses: Mapping[Run, Course]
) -> None:
    """Stop before the first run where one could not be made or would not be comparable.

    Raises:
        LaunchError: a number is out of range, a config is missing, or a run has other settings.
    """
    require_at_least(args, {'window': 1})
    for config in sorted({path for run, path in configs.items() if run not in courses}):
        load_config(str(config))
    for run, course in courses.items():
        wanted = made_with(configs[run], args) if run in configs else {}
        for key, now in wanted.items():
            was = course.settings.get(key, now)  # older releases kept none
            if was != now:
                raise LaunchError(
                    f'{args.out} holds {course.recipe}, seed {course.seed}, made with {key} '
                    f'{setting_text(was)} and not {setting_text(now)}: give the same, or another '
                    'file for --out.'
                )


def train(config: Path, seed: int, args: argparse.Namespace) -> Course:
    """One run, its work directory thrown away."""
    course = Course(config.stem, seed, settings=made_with(config, args))
    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config(str(config), work_dir=folder, cfg_options=args.cfg_options)
        cfg.experiment_name = f'{config.stem}_{seed}'  # runs of one second would share their logs
        cfg.default_hooks.checkpoint = None
        cfg.visualizer.vis_backends = []  # one visualizer serves all runs of a process
        options = TrainOptions(seed=seed, total_batch_size=args.total_batch_size)
        runner = build_runner(cfg, prepare_training(cfg, options))
        MMLogger.get_current_instance().setLevel(logging.WARNING)
        runner.register_hook(CourseHook(course, args.metric))
        runner.train()
    return course


def kept(path: Path) -> dict[Run, Course]:
    """The runs in the file of an earlier call; none if there is no file.

    Raises:
        LaunchError: the file holds something else.
    """
    require_own(path, mark='')
    if not path.exists():
        return {}
    try:
        content = read_json(path)
        # Runs of older releases know no settings; their file knows the metric.
        known = {key: content[key] for key in ('metric',) if key in content}
        courses = [Course(**{'settings': known, **run}) for run in content['runs']]
    except (ValueError, KeyError, TypeError):
        raise LaunchError(f'{path} holds no runs of updates_to_target.py: name another.') from None
    return {(course.recipe, course.seed): course for course in courses}


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
    write_own(args.out, json.dumps(content), mark='')
    return rows


def main() -> None:
    """Train what the file lacks, write after every run, print the table."""
    args = parse_args()
    configs = plan(args)
    courses = kept(args.out)
    check(args, configs, courses)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for (name, seed), config in configs.items():
        if (name, seed) not in courses:
            course = courses[name, seed] = train(config, seed, args)
            save(args, courses, configs)
            print(f'{name}, seed {seed}: loss {course.losses[-1]:.4f}', flush=True)
    print(to_markdown(save(args, courses, configs)))  # the targets may be new where no run is
    if args.figure is not None:
        wanted = [courses[run] for run in configs]
        for path in plot_courses(wanted, args.window, args.metric, args.figure):
            print(path)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
