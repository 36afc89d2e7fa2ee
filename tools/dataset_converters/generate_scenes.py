"""Draw a dataset of scenes with COCO's annotations, for training without a download."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scenes import Scene, draw_scene, write_split

SPLITS = ('train', 'val')
FORMAT = 1  # raise it when the same arguments draw something else
SMALLEST_SIZE = 32
MOST_OBJECTS = 1000


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read and check the command line.

    Args:
        argv: Arguments, those of the process if None.

    Returns:
        The arguments.

    Raises:
        SystemExit: An argument is out of its range.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out_dir', type=Path, help='folder of the dataset')
    parser.add_argument('--train', type=int, default=800, help='training images')
    parser.add_argument('--val', type=int, default=200, help='validation images')
    parser.add_argument(
        '--size', type=int, nargs=2, default=[160, 160], metavar=('HEIGHT', 'WIDTH'), help='pixels'
    )
    parser.add_argument(
        '--objects', type=int, nargs=2, default=[2, 8], metavar=('MIN', 'MAX'), help='in an image'
    )
    parser.add_argument(
        '--empty', type=float, default=0.02, help='fraction of images without any object'
    )
    parser.add_argument('--seed', type=int, default=0, help='same seed, same images')
    parser.add_argument('--overwrite', action='store_true', help='replace other scenes in out_dir')
    args = parser.parse_args(argv)
    fault = find_fault(args)
    if fault:
        parser.error(fault)
    return args


def find_fault(args: argparse.Namespace) -> str | None:
    """What is wrong with the arguments.

    Args:
        args: The arguments.

    Returns:
        One sentence, or None if nothing is wrong.
    """
    for split in SPLITS:
        if vars(args)[split] < 1:
            return f'--{split} is {vars(args)[split]} but must be 1 image or more.'
    if min(args.size) < SMALLEST_SIZE:
        height, width = args.size
        return f'--size is {height} {width} but both must be {SMALLEST_SIZE} pixels or more.'
    if not 1 <= args.objects[0] <= args.objects[1] <= MOST_OBJECTS:
        least, most = args.objects
        return f'--objects is {least} {most} but needs 1 <= MIN <= MAX <= {MOST_OBJECTS}.'
    if not 0 <= args.empty <= 1:
        return f'--empty is {args.empty} but must be from 0 to 1.'
    if args.seed < 0:
        return f'--seed is {args.seed} but must be 0 or more.'
    return None


def recipe(args: argparse.Namespace) -> dict[str, Any]:
    """What the content of the dataset depends on, stored beside it as ``scenes.json``.

    Args:
        args: The arguments.

    Returns:
        Name and value of each.
    """
    names = ('train', 'val', 'size', 'objects', 'empty', 'seed')
    return {'format': FORMAT, **{name: vars(args)[name] for name in names}}


def read_recipe(path: Path) -> dict[str, Any] | None:
    """The recipe of an earlier run.

    Args:
        path: Where ``scenes.json`` would be.

    Returns:
        The recipe and whether the run came to its end (``complete``); None if there was no run.
    """
    try:
        stored = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and 'complete' in stored else None


def draw_scenes(args: argparse.Namespace, split: str) -> Iterator[Scene]:
    """The scenes of a split; scene i depends on the seed, the split and i but not on their number.

    Args:
        args: The arguments.
        split: Name of the split.

    Yields:
        One scene per image.
    """
    for index in range(vars(args)[split]):
        rng = np.random.default_rng([args.seed, SPLITS.index(split), index])
        yield draw_scene(rng, tuple(args.size), tuple(args.objects), args.empty)


def is_drawn(args: argparse.Namespace) -> bool:
    """Whether the folder already holds this very dataset.

    Args:
        args: The arguments.

    Returns:
        False if the dataset is still to be drawn.

    Raises:
        SystemExit: The folder holds something else, which must not be lost.
    """
    folder: Path = args.out_dir
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    stored = read_recipe(folder / 'scenes.json')
    if stored is None:
        raise SystemExit(
            f'{folder} holds something other than generated scenes: name another folder.'
        )
    complete = stored.pop('complete')
    same = stored == recipe(args)
    if not same and not args.overwrite:
        raise SystemExit(
            f'{folder} holds scenes drawn with other arguments: name another folder or add '
            '--overwrite to replace them.'
        )
    return bool(same and complete)


def generate(args: argparse.Namespace) -> dict[str, int]:
    """Draw the dataset in place of what the folder holds.

    Args:
        args: The arguments.

    Returns:
        Number of objects in each split.
    """
    args.out_dir.mkdir(parents=True, exist_ok=True)
    state = args.out_dir / 'scenes.json'
    state.write_text(json.dumps({**recipe(args), 'complete': False}), encoding='utf-8')
    for name in ('annotations', *(f'{split}2017' for split in SPLITS)):
        if (args.out_dir / name).exists():
            shutil.rmtree(args.out_dir / name)
    counts = {split: write_split(args.out_dir, split, draw_scenes(args, split)) for split in SPLITS}
    state.write_text(json.dumps({**recipe(args), 'complete': True}), encoding='utf-8')
    return counts


def main(argv: list[str] | None = None) -> None:
    """Draw the dataset unless it is there.

    Args:
        argv: Arguments, those of the process if None.
    """
    args = parse_args(argv)
    if is_drawn(args):
        print(f'{args.out_dir} already holds these scenes: nothing to do.')
        return
    start = time.perf_counter()
    counts = generate(args)
    seconds = time.perf_counter() - start
    drawn = ', '.join(
        f'{vars(args)[name]} {name} images with {counts[name]} objects' for name in SPLITS
    )
    print(f'{args.out_dir}: {drawn} in {seconds:.1f} s')


if __name__ == '__main__':
    main()
