"""Carry AGVM's averages over a change of stage, or start them anew: which is nearer the truth?

python tools/analysis_tools/curriculum_statistics.py OUT --data work_dirs/curriculum

Trains the small detector of the curriculum with AGVM measuring at every update and changing
nothing, keeps all estimates, and replays both policies on them; see agvm_mm/analysis/carry_over.py.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from agvm_mm.analysis.carry_over import errors, from_numbers
from agvm_mm.curriculum import CurriculumHook
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training
from agvm_mm.statistics import FactorConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/faster_rcnn/faster-rcnn_r18_fpn_sgd-curriculum_1xb8-12e_scenes.py'


class KeepEstimates(Hook):
    """Keeps every estimate of AGVM and the stage that it was made in."""

    def __init__(self) -> None:
        self.rows: list[dict[str, list[float]]] = []
        self.stages: list[int] = []
        self.names: list[str] = []

    def before_train(self, runner: Any) -> None:
        """Listen to the modulator."""
        modulator = runner.optim_wrapper.modulator
        (curriculum,) = (hook for hook in runner.hooks if isinstance(hook, CurriculumHook))
        schedule = curriculum.schedule
        assert schedule is not None  # laid out before the run
        self.names = list(modulator.partition.names)
        observe = modulator.observe

        def listen(loss_scale: float = 1.0) -> Any:
            found = observe(loss_scale)
            if found is not None and found.finite:
                numbers = found.numerator.tolist(), found.denominator.tolist()
                self.rows.append(dict(zip(('numerator', 'denominator'), numbers)))
                self.stages.append(schedule.stage_at(runner.iter))
            return found

        modulator.observe = listen


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else '')
    parser.add_argument('out', type=Path, help='folder for the run and estimates.json')
    parser.add_argument('--config', default=str(CONFIG), help='with a CurriculumHook')
    parser.add_argument('--data', help='folder for AGVM_MM_DATA')
    parser.add_argument('--counts', type=int, default=4, help='micro-batches of an update')
    parser.add_argument('--images', type=int, default=2, help='images of a micro-batch')
    parser.add_argument('--horizon', type=int, default=50, help='estimates after a change')
    parser.add_argument('--momentum', type=float, default=0.97)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Train, replay, print."""
    args = parse_args()
    if args.data is not None:
        os.environ['AGVM_MM_DATA'] = str(Path(args.data).resolve())
    options = {
        'optim_wrapper.accumulative_counts': args.counts,
        'train_dataloader.batch_size': args.images,
    }
    cfg = load_config(args.config, work_dir=str(args.out), cfg_options=options)
    cfg.optim_wrapper['agvm'] = dict(interval=1, apply=False)
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    runner = build_runner(cfg, prepare_training(cfg, TrainOptions(seed=args.seed)))
    kept = KeepEstimates()
    runner.register_hook(kept)
    runner.train()
    stages = kept.stages
    changes = [i for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
    config = FactorConfig(anchor=kept.names.index('backbone'), momentum=args.momentum)
    found = errors(from_numbers(kept.rows), changes, config, args.horizon)
    result = dict(modules=kept.names, changes=changes, errors=found, estimates=kept.rows)
    (args.out / 'estimates.json').write_text(json.dumps(result))
    for row in found:
        print(', '.join(f'{key} {value:.4g}' for key, value in row.items()))


if __name__ == '__main__':
    main()
