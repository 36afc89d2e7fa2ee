"""Write the models that have results into configs/*/metafile.yml, with the results.

    python -m lab.metafiles

The results are those of docs/results: means over the seeds. The head of a metafile, its collection,
is left as it is. A recipe without a result is in no metafile.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from agvm_runs.errors import exit_with_sentence
from agvm_runs.reproduce import TABLES, rows_of
from agvm_runs.reproduce.recipes import Recipe, parse_recipe

from .curriculum_benchmark import ARMS, TASKS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'docs/results'
DATA = {'scenes': 'generated scenes', 'bccd': 'BCCD', 'camvid': 'CamVid'}
TASK = {
    'box AP': 'Object Detection',
    'mask AP': 'Instance Segmentation',
    'PQ': 'Panoptic Segmentation',
    'mIoU': 'Semantic Segmentation',
}
TECHNIQUES = {
    'agvm': 'AGVM',
    'curriculum': 'EfficientTrain++',
    'kfac': 'K-FAC',
    'sgd': 'SGD with Momentum',
    'adamw': 'AdamW',
    'lars': 'LARS',
    'lamb': 'LAMB',
    'adan': 'Adan',
    'muon': 'Muon',
    'soap': 'SOAP',
    'agc': 'Adaptive Gradient Clipping',
}


class Measured(NamedTuple):
    """What was measured with a recipe: the mean over its seeds, and the files that have them."""

    recipe: Recipe
    metric: str
    mean: float
    log: Path


def measured() -> Iterator[Measured]:
    """Every recipe that has results."""
    for name, table in TABLES.items():
        if name.startswith('miniature_'):
            for row in rows_of(table, ROOT / 'configs', RESULTS / 'miniature'):
                if row.mean is not None:
                    path = ROOT / row.config
                    log = RESULTS / f'miniature/{path.stem}_seed{row.seeds[0]}.json'
                    yield Measured(_recipe(path), table.metric, row.mean, log)
    log = RESULTS / 'kfac/updates.json'
    for entry in json.loads(log.read_text())['summary']:
        path = ROOT / f'configs/faster_rcnn/{entry["recipe"]}.py'
        yield Measured(_recipe(path), 'box AP', 100 * entry['score']['mean'], log)
    for task, (key, pattern) in TASKS.items():
        log = RESULTS / f'curriculum/{task}.json'
        runs = json.loads(log.read_text())['runs']
        for arm, suffix in ARMS.items():
            scores = [run['curve'][-1]['metrics'][key] for run in runs if run['arm'] == arm]
            mean = statistics.fmean(scores) * (100 if task == 'detection' else 1)
            metric = 'box AP' if task == 'detection' else 'mIoU'
            yield Measured(_recipe(ROOT / f'{pattern.format(suffix)}.py'), metric, mean, log)


def entry_of(one: Measured, collection: str) -> dict[str, Any]:
    """The model of a metafile."""
    recipe = one.recipe
    length = 'Epochs' if recipe.unit == 'e' else 'Iterations'
    parts = recipe.method.split('-')
    return {
        'Name': recipe.path.stem,
        'In Collection': collection,
        'Config': str(recipe.path.relative_to(ROOT)),
        'Metadata': {
            'Training Data': DATA[recipe.dataset],
            'Batch Size': recipe.batch,
            length: recipe.length,
            'Training Techniques': [text for part, text in TECHNIQUES.items() if part in parts],
        },
        'Results': [
            {
                'Task': TASK[one.metric],
                'Dataset': DATA[recipe.dataset],
                'Metrics': {one.metric: round(one.mean, 1)},
            }
        ],
        'Training Log': str(one.log.relative_to(ROOT)),
    }


def texts() -> dict[Path, str]:
    """The metafiles as they should be, by path."""
    found: dict[Path, list[Measured]] = {}
    for one in sorted(measured(), key=lambda one: one.recipe.path):
        found.setdefault(one.recipe.path.with_name('metafile.yml'), []).append(one)
    made = {}
    for path, models in found.items():
        head = path.read_text().partition('\nModels:\n')[0]
        name = yaml.safe_load(head)['Collections'][0]['Name']
        entries = [
            yaml.safe_dump([entry_of(one, name)], sort_keys=False, width=1000) for one in models
        ]
        made[path] = f'{head}\nModels:\n' + '\n'.join(entries)
    return made


def _recipe(path: Path) -> Recipe:
    recipe = parse_recipe(path)
    assert recipe is not None and path.is_file(), path
    return recipe


def parse_args() -> argparse.Namespace:
    """The command line, which has no options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser.parse_args()


def main() -> None:
    """Write them."""
    parse_args()
    for path, text in texts().items():
        path.write_text(text)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
