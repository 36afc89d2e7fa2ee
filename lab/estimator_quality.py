"""Spread of phi, settling of the scales, and very many samples, on a detector's own gradients."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper

import agvm_mm  # noqa: F401  registers what configs name
from agvm_mm.launch.command_line import require_at_least
from agvm_mm.launch.errors import LaunchError
from agvm_mm.predict.gradients import GradientSource
from agvm_mm.predict.small_batch import (
    agvm_keys,
    make_updates,
    small_batch_rate,
    wrapper_config,
)
from agvm_mm.statistics import ScaleConfig
from agvm_runs.errors import exit_with_sentence
from agvm_runs.settings import AVERAGES, AGVMSettings
from agvm_runs.work_dir import require_own, write_own

from .quality.gram import gram_matrices
from .quality.levels import measure_levels
from .quality.settling import ESTIMATORS, least_horizon, settle
from .quality.spread import measure

FORMAT = 'agvm_mm estimator quality 1'


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help="a detector's training config")
    parser.add_argument('--checkpoint', help='weights to load')
    parser.add_argument('--train', type=int, default=0, help='updates of --images before measuring')
    parser.add_argument('--images', type=int, default=1, help='in a sample gradient')
    parser.add_argument('--anchor', help="module whose scale is 1; default: the config's")
    parser.add_argument('--samples', type=int, default=256, help='K; 4 K P bytes of memory')
    parser.add_argument('--ranks', nargs='+', type=int, default=[2, 4, 8, 16, 32], help='the N')
    parser.add_argument(
        '--draws', type=int, default=200, help='cuts of the samples; default %(default)s'
    )
    parser.add_argument('--settle-at', type=int, default=8, help='N of the settling')
    parser.add_argument('--horizon', type=int, default=400, help='estimates followed')
    parser.add_argument(
        '--streams', type=int, default=15, help='runs of the settling; default %(default)s'
    )
    parser.add_argument('--levels', nargs='*', type=int, default=[], help='such as 16 64 256 1536')
    parser.add_argument(
        '--seed', type=int, default=0, help='of weights, data and draws; default %(default)s'
    )
    parser.add_argument('--out', type=Path, help='JSON file for all numbers')
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Stop before any gradient is drawn where the arguments do not fit together.

    Raises:
        LaunchError: they do not, or the folder of --out cannot be made.
        FileError: something else lies at --out.
    """
    # Of the cut samples half make one estimate and half another.
    samples = max(2 * max(args.ranks), args.settle_at)
    least = {'images': 1, 'train': 0, 'ranks': 2, 'samples': samples, 'draws': 1, 'settle_at': 2}
    least |= {'horizon': least_horizon(ScaleConfig.momentum), 'streams': 1, 'levels': 2}
    require_at_least(args, least)
    try:
        if args.out is not None:
            require_own(args.out, FORMAT)
            args.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(f'--out is {args.out}, whose folder cannot be made: {error}.') from error


def anchor_of(source: GradientSource, args: argparse.Namespace) -> str:
    """The anchor: that of the command line, else the config's.

    Raises:
        LaunchError: it is no module.
    """
    names = source.partition.names
    given = agvm_keys(source.settings).get('anchor', AGVMSettings.anchor)
    wanted = given if args.anchor is None else args.anchor
    anchor = source.partition.anchor(wanted)
    if anchor is None:
        raise LaunchError(
            f'the anchor is {wanted!r}; allowed is {", ".join(names)}, with --anchor or as '
            'optim_wrapper.agvm.anchor of the config.'
        )
    return anchor


def spreads(gram: torch.Tensor, names: tuple[str, ...], args: argparse.Namespace) -> Any:
    """Spread of phi by module and N, printed and returned."""
    generator = torch.Generator().manual_seed(args.seed)
    print(f'{"module":<20} {"N":>5} {"phi":>7} {"sd all":>9} {"sd split":>9} {"gain":>6}   theory')
    found = {}
    for name, module in zip(names, gram):
        found[name] = [measure(module, n, args.draws, generator) for n in args.ranks]
        for s in found[name]:
            print(
                f'{name:<20} {s.samples:>5} {s.phi:>7.4f} {s.all_pairs:>9.5f} '
                f'{s.half_split:>9.5f} {s.gain:>6.2f}   {s.theory_all_pairs:.5f} '
                f'{s.theory_half_split:.5f} {s.theory_gain:.2f}'
            )
    return {name: [asdict(s) for s in module] for name, module in found.items()}


def settling(gram: torch.Tensor, names: tuple[str, ...], args: argparse.Namespace) -> Any:
    """Estimates until the scales have settled, printed and returned."""
    generator = torch.Generator().manual_seed(args.seed)
    print(f'\nEstimates until a scale stays within 5 % of its limit, N = {args.settle_at}')
    found = []
    for estimator in ESTIMATORS:
        for average in AVERAGES:
            config = ScaleConfig(anchor=names.index(args.anchor), average=average)
            found.append(
                settle(
                    gram,
                    args.settle_at,
                    estimator,
                    config,
                    args.horizon,
                    args.streams,
                    generator,
                )
            )
            columns = (
                f'{name} {count:g} (limit {limit:.3f})'
                for name, count, limit in zip(names, found[-1].estimates, found[-1].limit)
            )
            print(f'  {estimator:<10} {average:<8} ' + ', '.join(columns))
    return [asdict(entry) for entry in found]


def many(source: GradientSource, args: argparse.Namespace) -> Any:
    """Phi and scales at every level, printed and returned."""
    names = source.partition.names
    config = ScaleConfig(anchor=names.index(args.anchor))
    found = measure_levels(
        source.gradients(max(args.levels)), source.partition, sorted(args.levels), config
    )
    print(f'\n{"N":>5} {"module":<20} {"phi":>8} {"predicted":>9} {"scale":>7} {"noise scale":>12}')
    for level in found:
        rows = zip(names, level.phi, level.predicted, level.scales, level.noise_scale)
        for name, phi, predicted, scale, noise_scale in rows:
            print(
                f'{level.samples:>5} {name:<20} {phi:>8.4f} {predicted:>9.4f} {scale:>7.3f} '
                f'{noise_scale * args.images:>12.1f}'
            )
    return [asdict(level) for level in found]


def train(source: GradientSource, updates: int) -> None:
    """Make updates of one micro-batch with the config's optimizer at the rate for it."""
    if updates < 1:
        return
    rate = small_batch_rate(source.settings, source.images)
    wrapper = build_optim_wrapper(source.model, wrapper_config(source.settings, rate))
    make_updates(source.model, source.next_batch, wrapper, updates, samples=1)


def main() -> None:
    """Draw the gradients once, then answer every question from their inner products."""
    args = parse_args()
    check(args)
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # every initialised tensor
    source = GradientSource(args.config, args.images, args.checkpoint, args.seed)
    names = source.partition.names
    args.anchor = anchor_of(source, args)
    train(source, args.train)
    gram = gram_matrices(source.gradients(args.samples), args.samples, source.partition)
    result = {'spread': spreads(gram, names, args), 'settling': settling(gram, names, args)}
    if args.levels:
        result['levels'] = many(source, args)
    if args.out is not None:
        write_own(args.out, json.dumps({'format': FORMAT, **result}, indent=1), FORMAT)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
