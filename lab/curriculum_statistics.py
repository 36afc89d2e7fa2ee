"""Carry AGVM's averages over a change of stage, or start them anew: which is nearer the truth?

python -m lab.curriculum_statistics OUT --data work_dirs/curriculum

Trains the small detector of the curriculum with AGVM measuring at every update and changing
nothing, keeps all estimates, and replays both policies on them; see lab/curves/carry_over.py.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from agvm_mm.curriculum import CurriculumHook
from agvm_mm.launch.command_line import require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training
from agvm_mm.parts import AGVMPart
from agvm_mm.statistics import ScaleConfig, VarianceEstimate
from agvm_runs.errors import exit_with_sentence
from agvm_runs.work_dir import require_own, type_name, write_own

from .curves.carry_over import errors

FORMAT = 'agvm_mm curriculum statistics 1'
ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/faster_rcnn/faster-rcnn_r18_fpn_sgd-curriculum_1xb8-12e_scenes.py'
LEAST = {'counts': 2, 'images': 1, 'horizon': 1}


class KeepEstimates(Hook):
    """Keeps every finite estimate of AGVM and the stage in which it was made."""

    def __init__(self) -> None:
        self.stages: list[int] = []
        self.estimates: list[VarianceEstimate] = []

    def before_train(self, runner: Any) -> None:
        """Watch AGVM's part."""
        (curriculum,) = (hook for hook in runner.hooks if isinstance(hook, CurriculumHook))

        def keep(update: int, estimate: VarianceEstimate) -> None:
            assert curriculum.schedule is not None  # laid out before the run
            if estimate.finite:
                self.estimates.append(estimate)
                self.stages.append(curriculum.schedule.stage_at(runner.iter))

        runner.optim_wrapper.part(AGVMPart).observers.append(keep)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else '')
    parser.add_argument('out', type=Path, help='folder for the run and estimates.json')
    parser.add_argument('--config', default=str(CONFIG), help='with a CurriculumHook')
    parser.add_argument('--data', help='folder for AGVM_MM_DATA')
    parser.add_argument('--counts', type=int, default=4, help='micro-batches of an update')
    parser.add_argument('--images', type=int, default=2, help='images of a micro-batch')
    parser.add_argument('--horizon', type=int, default=50, help='estimates after a change')
    parser.add_argument(
        '--momentum', type=float, default=0.97, help='of the averages; default %(default)s'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the run; default %(default)s')
    return parser.parse_args()


def read_config(args: argparse.Namespace) -> Config:
    """The config, measuring at every update.

    Raises:
        LaunchError: it is missing or has no curriculum, or an argument is out of range.
    """
    require_at_least(args, LEAST)
    if not 0 <= args.momentum < 1:
        raise LaunchError(f'--momentum is {args.momentum}; allowed is a number in [0, 1).')
    options = {
        'optim_wrapper.accumulative_counts': args.counts,
        'train_dataloader.batch_size': args.images,
    }
    cfg = load_config(args.config, work_dir=str(args.out), cfg_options=options)
    if 'CurriculumHook' not in map(type_name, cfg.get('custom_hooks') or []):
        raise LaunchError(f'{args.config} has no CurriculumHook in custom_hooks: name another.')
    cfg.optim_wrapper.update(type='AGVMOptimWrapper', agvm=dict(interval=1, apply=False))
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    return cfg


def row(estimate: VarianceEstimate) -> dict[str, list[float]]:
    """An estimate for the JSON file."""
    return dict(
        numerator=estimate.numerator.tolist(),
        denominator=estimate.denominator.tolist(),
    )


def main() -> None:
    """Train, replay, print."""
    args = parse_args()
    if args.data is not None:
        os.environ['AGVM_MM_DATA'] = str(Path(args.data).resolve())
    require_own(args.out / 'estimates.json', FORMAT)
    cfg = read_config(args)
    runner = build_runner(cfg, prepare_training(cfg, TrainOptions(seed=args.seed)))
    kept = KeepEstimates()
    runner.register_hook(kept)
    runner.train()
    stages = kept.stages
    changes = [i for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
    names = list(runner.optim_wrapper.part(AGVMPart).partition.names)
    config = ScaleConfig(anchor=names.index('backbone'), momentum=args.momentum)
    found = errors(kept.estimates, changes, config, args.horizon)
    rows = [row(estimate) for estimate in kept.estimates]
    result = dict(format=FORMAT, modules=names, changes=changes, errors=found, estimates=rows)
    write_own(args.out / 'estimates.json', json.dumps(result), FORMAT)
    for entry in found:
        print(', '.join(f'{key} {value:.4g}' for key, value in entry.items()))


if __name__ == '__main__':
    with exit_with_sentence():
        main()
