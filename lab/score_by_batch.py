"""Draw the score of every method against the batch, from the results of lab.miniature.

    python -m lab.score_by_batch --out docs/images/score_by_batch

Every method has the same search for its learning rate at every batch. A point is the mean over
seeds, its bar the sample standard deviation. Nothing is trained.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot
from matplotlib.figure import Figure

from agvm_runs.errors import exit_with_sentence
from agvm_runs.reproduce.runs import find_runs
from agvm_runs.style import save
from agvm_runs.work_dir import FileError

from .batches.figure import batch_axis, draw_method

METHODS = ('kfac-sgd', 'muon', 'soap', 'lamb', 'lars', 'adamw', 'sgd', 'agvm-sgd')
LENGTHS = {16: '2xb8-256it', 64: '8xb8-64it', 128: '16xb8-32it'}
RECIPE = 'faster-rcnn_r18_fpn_{}_{}_scenes'
KEY = 'coco/bbox_mAP'
LEVEL = 'sgd'  # whose score at the smallest batch is the level to keep
MARK = 'agvm_mm score by batch'

Scores = Mapping[int, tuple[float, float]]
"""Mean and standard deviation by batch."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=Path('docs/results/miniature'),
        help='JSON files; default %(default)s',
    )
    parser.add_argument('--out', default='score_by_batch', help='path without suffix; PNG and SVG')
    return parser.parse_args()


def scores_of(results: Path, method: str) -> Scores:
    """Box AP x 100 of a method at every batch that has at least two seeds."""
    found = {}
    for batch, length in LENGTHS.items():
        runs = find_runs(results, RECIPE.format(method, length), KEY)
        values = [100 * run.value for run in runs if run.value is not None]
        if len(values) > 1:
            found[batch] = statistics.fmean(values), statistics.stdev(values)
    return found


def draw(methods: Mapping[str, Scores]) -> Figure:
    """One line a method; the level is the score of SGD at the smallest batch."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.8), layout='constrained')
    for i, (method, scores) in enumerate(methods.items()):
        draw_method(axes, i, method, [(batch, *score) for batch, score in scores.items()])
    batches = list(LENGTHS)
    level = methods.get(LEVEL, {}).get(batches[0])
    if level is not None:
        axes.axhline(level[0], color='grey', linewidth=0.8, linestyle=':')
        axes.annotate('SGD at batch 16', (128, level[0]), ha='right', va='bottom', color='grey')
    batch_axis(axes, batches)
    axes.set_xlabel('batch (4,096 images in all runs)')
    axes.set_ylabel('box AP')
    axes.set_ylim(bottom=0)
    figure.legend(loc='outside right upper', fontsize='small')
    return figure


def main() -> None:
    """Read, draw, say where."""
    args = parse_args()
    methods = {name: found for name in METHODS if (found := scores_of(args.results, name))}
    if not methods:
        raise FileError(f'--results {args.results} holds no result of the miniature Faster R-CNN.')
    for path in save(draw(methods), args.out, MARK):
        print(path)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
