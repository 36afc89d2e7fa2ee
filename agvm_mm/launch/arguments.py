"""The command-line arguments that tools/train.py and tools/test.py share."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mmengine.config import DictAction

from .distributed import VARIABLES, set_local_rank


def add_shared_arguments(parser: ArgumentParser) -> None:
    """Add MMDetection's arguments for the work directory, overrides and the launcher."""
    parser.add_argument('--work-dir', help='directory for logs and checkpoints')
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher', choices=['none', *VARIABLES], default='none', help='what started the ranks'
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='for launchers that pass it'
    )


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add MMDetection's argument for overrides."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, as in optim_wrapper.optimizer.lr=0.01 or '
        'key="[(a,b),(c,d)]" (quoted, without blanks)',
    )


def parse(parser: ArgumentParser) -> Namespace:
    """Parse the command line and tell MMEngine the local rank."""
    args = parser.parse_args()
    set_local_rank(args.launcher, args.local_rank)
    return args
