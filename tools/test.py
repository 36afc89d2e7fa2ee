"""Test a checkpoint with a config: MMDetection's test.py, for detection and segmentation alike."""

from __future__ import annotations

import argparse

from torch.distributed.elastic.multiprocessing.errors import record

from agvm_mm.launch import testing
from agvm_mm.launch.command_line import add_shared_arguments, parse
from agvm_mm.launch.runner import build_runner, leave_process_group, load_config, prepare_testing
from agvm_runs.errors import exit_with_sentence


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out',
        help='pickle file for all predictions, or for MMSegmentation a directory for its maps',
    )
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='directory for painted images')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds between two windows')
    parser.add_argument('--tta', action='store_true', help='augment at test time')
    add_shared_arguments(parser)
    return parse(parser)


@record
def main() -> None:
    """Test."""
    args = parse_args()
    with exit_with_sentence():
        cfg = load_config(args.config, args.launcher, args.work_dir, args.cfg_options)
        testing.show_predictions(cfg, args.show, args.show_dir, args.wait_time)
        testing.check_out(cfg, args.out)
        if args.tta:
            testing.use_test_time_augmentation(cfg)
        notes = prepare_testing(cfg, args.checkpoint)
    runner = build_runner(cfg, notes)
    testing.dump_predictions(runner, cfg, args.out)
    runner.test()
    del runner
    leave_process_group()


if __name__ == '__main__':
    main()
