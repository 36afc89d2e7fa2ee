"""Train one network of every family of the model zoos for a few updates with every method."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import logging
import multiprocessing
import re
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import nn

from agvm_runs.errors import exit_with_sentence
from agvm_runs.work_dir import finite, read_json, write_own

from .architectures.facts import classes_of, facts
from .architectures.families import ZOOS, build_network, family_configs
from .architectures.methods import METHODS, NO_METHOD, SIDES, train_network
from .architectures.small import SIDE
from .architectures.table import outcome, tables

TRIED = 3  # configs of a family
MARK = '"zoo": 1'
VERSIONED = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=f'{__doc__} What is in the JSON file already is not trained again.'
    )
    parser.add_argument('--only', default='', help='a regular expression for ZOO/FAMILY')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('docs/results/zoo.json'),
        help='the JSON file; default %(default)s',
    )
    parser.add_argument(
        '--seconds',
        type=int,
        default=200,
        help='of CPU time at most a training; default %(default)s',
    )
    parser.add_argument('--again', action='store_true', help='train what was trained too')
    parser.add_argument('--untrained', action='store_true', help='only what needs no training')
    parser.add_argument('--show', action='store_true', help='print the tables of the file')
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    kept = read_json(args.out)['families'] if args.out.exists() else {}
    if args.show:
        print(tables(kept))
        return
    warnings.simplefilter('ignore')
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    kinds: dict[str, str] = {}
    for zoo, family, network, why in networks(args.only):
        name = f'{zoo}/{family}'
        before = kept.get(name, {})
        if network is None:
            kept[name] = {'fault': why}
        else:
            kept[name] = {'config': why.stem, **facts(network)}
            first = kinds.setdefault(' '.join(classes_of(network)), name)
            if 'trained' in before and not args.again:
                kept[name]['trained'] = before['trained']
            elif first != name:
                kept[name]['as'] = first
            elif not args.untrained:
                side = SIDES.get(family, SIDE)
                kept[name]['trained'] = trained(zoo, why, side, args.seconds)
        write(args.out, kept)
        end = kept[name].get('fault') or outcome(kept[name])
        print(f'{name}: {end}', file=sys.stderr, flush=True)


def networks(only: str) -> Iterator[tuple[str, str, nn.Module | None, Any]]:
    """Zoo, family, network and config of every family; or None and why none can be built."""
    for zoo in filter(find_spec, ZOOS):
        for family, configs in family_configs(zoo):
            if re.search(only, f'{zoo}/{family}'):
                yield zoo, family, *_first(zoo, configs)


def _first(zoo: str, configs: list[Path]) -> tuple[nn.Module | None, Any]:
    why = 'no config'
    for path in configs[:TRIED]:
        try:
            return build_network(zoo, path), path
        except Exception as error:  # whatever a constructor misses
            why = f'{path.stem}: {sentence(error)}'
    return None, why


def trained(zoo: str, path: Path, side: int, seconds: int) -> dict[str, Any]:
    """The result of a training with the methods; unless it is finite, of one without them too."""
    result = in_a_process(seconds, zoo, path, METHODS, side)
    if not result.get('finite'):
        result['without'] = in_a_process(seconds, zoo, path, NO_METHOD, side)
    result['date'] = datetime.date.today().isoformat()
    result['versions'] = {
        package: importlib.import_module(package).__version__ for package in VERSIONED
    }
    return result


def in_a_process(seconds: int, *args: Any) -> dict[str, Any]:
    """What ``train_network(*args)`` returns, or its fault; ended after ``seconds`` of CPU time."""
    context = multiprocessing.get_context('fork')
    mine, its = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(its, seconds, *args), daemon=True)
    process.start()
    its.close()
    try:
        result: dict[str, Any] = mine.recv()
    except EOFError:
        result = {'fault': f'no result after {seconds} s of CPU time, or killed'}
    process.join()
    return result


def _train(pipe: Connection, seconds: int, *args: Any) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    torch.set_num_threads(1)
    start = time.process_time()
    try:
        result = train_network(*args)
    except Exception as error:  # whatever stops a training
        result = {'fault': sentence(error).replace(f'{sys.prefix}/', '')}
    pipe.send({**result, 'seconds': round(time.process_time() - start, 1)})


def sentence(error: Exception) -> str:
    """The first line of an error."""
    return f'{type(error).__name__}: {(str(error).splitlines() or [""])[0].strip()}'


def write(path: Path, families: Mapping[str, Any]) -> None:
    """One line a family."""
    lines = ',\n'.join(
        f'  {json.dumps(name)}: {json.dumps(finite(record), allow_nan=False)}'
        for name, record in sorted(families.items())
    )
    write_own(path, f'{{\n {MARK},\n "families": {{\n{lines}\n }}\n}}\n', MARK)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
