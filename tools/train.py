"""Train the model of a config: MMDetection's train.py, for detection and segmentation alike."""

from __future__ import annotations

import argparse

from torch.distributed.elastic.multiprocessing.errors import record

from agvm_mm.launch.command_line import add_shared_arguments, parse
from agvm_mm.launch.quiet import Quiet
from agvm_mm.launch.record import TrainOptions
from agvm_mm.launch.rescale.recipe import RULES
from agvm_mm.launch.runner import (
    build_runner,
    leave_process_group,
    load_config,
    prepare_training,
    print_notes,
)
from agvm_runs.errors import exit_with_sentence


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate from auto_scale_lr.base_batch_size to the batch of an '
        'optimizer update, gradient accumulation included: by auto_scale_lr.rule, which rescales '
        'the whole recipe, or linearly without one',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or from the latest of the work directory',
    )
    parser.add_argument(
        '--total-batch-size',
        type=int,
        metavar='IMAGES',
        help='images of an optimizer update on all ranks together; chooses accumulative_counts. '
        'The iterations of the config then count updates',
    )
    parser.add_argument(
        '--scale-rule',
        choices=RULES,
        help='rescale the recipe from the batch for which it is written: the learning rate by this '
        'rule, lengths, averages and windows by theirs; none changes nothing',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='print the batch and what is rescaled, and exit'
    )
    parser.add_argument('--seed', type=int, help='random seed, randomness.seed')
    parser.add_argument(
        '--quiet',
        action='store_true',
        help='show progress, scores, errors and what agvm_mm says; all that is printed goes to '
        'output.txt in the work directory',
    )
    add_shared_arguments(parser)
    return parse(parser)


@record
def main() -> None:
    """Train."""
    args = parse_args()
    options = TrainOptions(
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        resume=args.resume,
        seed=args.seed,
        total_batch_size=args.total_batch_size,
        scale_rule=args.scale_rule,
        dry_run=args.dry_run,
    )
    quiet = Quiet() if args.quiet and not args.dry_run else None
    with exit_with_sentence():
        cfg = load_config(args.config, args.launcher, args.work_dir, args.cfg_options)
        notes = prepare_training(cfg, options)
        if args.dry_run:
            print_notes(cfg, notes)
            return
    build_runner(cfg, notes, quiet).train()
    leave_process_group()


if __name__ == '__main__':
    main()
