"""The paper's effective-batch experiment: does the head's variance approach the backbone's?"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

import agvm_mm  # noqa: F401  registers what configs name
from agvm_mm.launch.command_line import add_run_arguments, check_run_arguments
from agvm_mm.launch.errors import LaunchError
from agvm_mm.predict.forecast import Plan, write
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table
from agvm_runs.work_dir import read_json, require_own

from .explain.draw import draw_steps
from .explain.steps import FAMILIES, FORMAT, apart, measure, row

# Relative to where the tool is called, as a name in the file of numbers should be.
CONFIGS = Path(os.path.relpath(Path(__file__).with_name('configs')))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'what', nargs='+', help=f'{" ".join(FAMILIES)}, or JSON files of earlier calls'
    )
    add_run_arguments(parser, updates=150, samples=16)
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Stop before the first run where one could not be made.

    Raises:
        LaunchError: an argument is out of range, or a name is unknown.
    """
    check_run_arguments(args)
    if args.json is not None:
        require_own(args.json, FORMAT)
    for name in args.what:
        if name not in FAMILIES and not name.endswith('.json'):
            raise LaunchError(
                f'{name!r} is unknown; allowed is {", ".join(FAMILIES)} or a JSON file.'
            )


def read(path: str) -> list[dict[str, Any]]:
    """The steps that an earlier call has measured."""
    content = read_json(Path(path))
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ValueError(f'{path} holds no measurement of effective_batch.py.')
    return list(content['steps'])


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line a step."""
    head = ['detector', 'step', 'phi backbone', 'phi head', 'B_simple backbone', 'B_simple head']
    lines = []
    for result in results:
        found = row(result)
        phi = [f'{p:.3f} ± {e:.3f}' for p, e in zip(found.phi, found.error)]
        scale = [f'{value:.1f}' for value in found.noise_scale]
        lines.append([found.family, found.label, *phi, *scale, apart(found, 2)])
    return markdown_table([*head, 'octaves apart'], lines)


def main() -> None:
    """Measure or read, print, write, draw."""
    args = parse_args()
    check(args)
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # every initialised tensor
    plan = Plan('', samples=args.samples, updates=args.updates, window=args.window,
                device=args.device)  # fmt: skip
    results: list[dict[str, Any]] = []
    try:
        for name in args.what:
            if name in FAMILIES:
                for result in measure(name, plan, args.seeds, CONFIGS):
                    results.append(result)
                    if args.json is not None:  # after each step: a long run may be cut off
                        write({'format': FORMAT, 'steps': results}, args.json)
            else:
                results += read(name)
    except (OSError, ValueError) as error:
        raise LaunchError(str(error)) from error
    print(table(results))
    if args.figure is not None:
        for path in draw_steps(results, args.figure):
            print(path)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
