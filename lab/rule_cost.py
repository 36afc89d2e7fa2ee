"""Print what a rule for the learning rate costs beside a searched rate, on the miniature.

    python -m lab.rule_cost
    python -m lab.rule_cost --optimizers adamw --results docs/results/miniature/rules

Both kinds of run are made by lab.miniature. A rule without runs of its own has the score of those
whose rate is the same within 1 %; where only the search tried that rate, its one seed is shown, and
the cost compares it with the same seed at the searched rate. Nothing is trained.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.rescale.recipe import ScalingSettings
from agvm_mm.launch.runner import load_config
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table
from agvm_runs.reproduce.runs import find_runs
from agvm_runs.work_dir import read_result, score_of

from .trainings.rules import RULES
from .trainings.tuning import mean_text

FOLDER = Path(__file__).resolve().parents[1] / 'configs/miniature'
RECIPE = 'faster-rcnn_r18_fpn_{}_{}_scenes'
LENGTHS = {16: '2xb8-256it', 64: '8xb8-64it', 128: '16xb8-32it'}
BASE = 16
KEY, RATE = 'coco/bbox_mAP', 'optim_wrapper.optimizer.lr'


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--optimizers', nargs='+', default=['sgd', 'adamw', 'lamb'], help='as recipes are named'
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=Path('docs/results/miniature'),
        help='JSON files; default %(default)s',
    )
    return parser.parse_args()


class Scores(NamedTuple):
    """Box AP of the seeds of one recipe, rule and batch, and their learning rate."""

    rate: float
    values: tuple[float, ...]
    tuning: bool = False

    def text(self) -> str:
        """Mean ± sample standard deviation (number of runs)."""
        return mean_text(self.values) + (', tuning seed' if self.tuning else '')

    @property
    def mean(self) -> float:
        """Of the seeds."""
        return statistics.fmean(self.values)


def scores_of(name: str, rate: float, folder: Path) -> Scores | None:
    """The runs of this name; None if there are none."""
    values = tuple(100 * run.value for run in find_runs(folder, name, KEY) if run.value is not None)
    return Scores(rate, values) if values else None


@cache
def searched_rate(method: str, batch: int) -> float:
    """The rate in the file of a recipe.

    Raises:
        LaunchError: there is no such recipe.
    """
    path = FOLDER / f'{RECIPE.format(method, LENGTHS[batch])}.py'
    if not path.is_file():
        raise LaunchError(f'--optimizers holds {method!r}, and there is no recipe {path}.')
    return float(load_config(str(path)).optim_wrapper.optimizer.lr)


def runs_at(method: str, batch: int, folder: Path) -> list[Scores]:
    """Runs of one optimizer with its own options at a batch, the searched first."""
    found = []
    for name in (method, *(f'{method}-{rule}' for rule in RULES)):
        recipe = RECIPE.format(name, LENGTHS[batch])
        if (FOLDER / f'{recipe}.py').is_file():
            found.append(scores_of(recipe, searched_rate(name, batch), folder))
    base = RECIPE.format(method, LENGTHS[BASE])
    for rule in RULES:
        rate = rate_by(rule, method, batch)
        if not RULES[rule].get('adam_sde'):  # which has other betas
            found.append(scores_of(f'{base}_{rule}_{batch}', rate, folder))
    return [one for one in found if one is not None]


def tuning_runs(method: str, batch: int, folder: Path) -> list[Scores]:
    """What the search of a recipe has tried."""
    pattern = f'{RECIPE.format(method, LENGTHS[batch])}_lr*_seed*.json'
    results = [read_result(path) for path in sorted((folder / 'tuning').glob(pattern))]
    return [
        Scores(one['cfg_options'][RATE], (100 * score_of(one['scores'], KEY),), tuning=True)
        for one in results
    ]


def rate_by(rule: str, method: str, batch: int) -> float:
    """The rate of the recipe of batch 16, taken to ``batch``."""
    return searched_rate(method, BASE) * ScalingSettings(**RULES[rule]).multiplier(BASE, batch)


def rows(method: str, batch: int, folder: Path) -> list[list[str]]:
    """The table's lines of one optimizer and batch: the searched rate, then each rule."""
    measured, tried = runs_at(method, batch, folder), tuning_runs(method, batch, folder)
    best = searched_rate(method, batch)
    searched = _at(best, measured)
    base = RECIPE.format(method, LENGTHS[BASE])
    lines = [[method, str(batch), 'searched', f'{best:.3g}', _text(searched), '']]
    for rule, settings in RULES.items():
        rate = rate_by(rule, method, batch)
        if settings.get('adam_sde'):
            found = scores_of(f'{base}_{rule}_{batch}', rate, folder)
            if found is None:
                continue  # not for this optimizer
        else:
            found = _at(rate, measured) or _at(rate, tried)
        reference = _at(best, tried) if found and found.tuning else searched
        cost = f'{reference.mean - found.mean:.1f}' if reference and found else ''
        lines.append([method, str(batch), rule, f'{rate:.3g}', _text(found), cost])
    return lines


def _at(rate: float, measured: Sequence[Scores]) -> Scores | None:
    return next((one for one in measured if math.isclose(one.rate, rate, rel_tol=0.01)), None)


def _text(scores: Scores | None) -> str:
    return 'not run' if scores is None else scores.text()


def main() -> None:
    """Print the table."""
    args = parse_args()
    lines = [
        line
        for method in args.optimizers
        for batch in sorted(LENGTHS)
        if batch != BASE
        for line in rows(method, batch, args.results)
    ]
    print(markdown_table(['optimizer', 'batch', 'rule', 'rate', 'box AP', 'cost'], lines))


if __name__ == '__main__':
    with exit_with_sentence():
        main()
