"""Print the modules' noise scales early, midway and late in runs, with their 95 % intervals.

    python -m lab.noise_scales work_dirs/*_scenes --out docs/results/modules/noise_scales.json
    python -m lab.noise_scales docs/results/modules/noise_scales.json

Everything is read from the logs of the runs, or from the file of an earlier call; nothing is
trained. The points are the logged updates at a quarter, half and the end of a run.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agvm_runs.curves.history import History
from agvm_runs.curves.noise import Noise, noise_scales
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table
from agvm_runs.report.run import Run, read_run
from agvm_runs.work_dir import FileError, read_json, write_own

SHARES = {'early': 0.25, 'middle': 0.5, 'late': 1.0}  # of the run
MARK = 'agvm_mm noise scales'


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'runs', nargs='+', help='work directories of runs with AGVM, or a file of --out'
    )
    parser.add_argument('--out', type=Path, help='JSON file for the numbers')
    return parser.parse_args()


def main() -> None:
    """Read, print, keep."""
    args = parse_args()
    try:
        results = [result for run in args.runs for result in results_of(run)]
    except FileNotFoundError as error:
        raise FileError(str(error)) from error
    if args.out:
        text = json.dumps({'mark': MARK, 'runs': results}, indent=1, allow_nan=False)
        write_own(args.out, f'{text}\n', MARK)
    head = ['run', 'module', *SHARES]
    print(markdown_table(head, (row for result in results for row in rows(result))))


def results_of(path: str) -> list[dict[str, Any]]:
    """What is measured in a run, or what an earlier call has kept in a JSON file.

    Raises:
        FileError: the file is of another kind, or as for :func:`measured`.
    """
    if not path.endswith('.json'):
        return [measured(read_run(path))]
    content = read_json(Path(path))
    if not isinstance(content, dict) or content.get('mark') != MARK:
        raise FileError(f'{path} is no file of noise_scales.py.')
    return list(content['runs'])


def measured(run: Run) -> dict[str, Any]:
    """Losses of a run, and noise scale, lower and upper end of its modules, in images.

    An end that is infinite, where phi may be 1, is None.

    Raises:
        FileError: the run logged no interval of phi.
    """
    history = run.history
    if history is None or not history.curves.get('phi_high'):
        raise FileError(f'{run.folder} logged no interval of phi; allowed are runs with AGVM.')
    steps = points(run, history)
    found = [{one.module: one for one in noise_scales(history, at)} for at in steps.values()]
    loss = run.losses['loss']
    return {
        'run': run.name,
        'batch': run.batch,
        'updates': [step // run.accumulation for step in steps.values()],
        'loss': [float(loss.values[loss.steps <= step][-1]) for step in steps.values()],
        'modules': {
            module: [_triple(at[module]) for at in found] for module in history.curves['phi_high']
        },
    }


def points(run: Run, history: History) -> dict[str, int]:
    """The iterations closest to the shares of the run, of those at which all modules are logged."""
    every = [set(curve.steps.tolist()) for curve in history.curves['phi_high'].values()]
    logged, last = sorted(set.intersection(*every)), int(run.last['step'])
    return {
        name: min(logged, key=lambda step: abs(step - share * last))
        for name, share in SHARES.items()
    }


def _triple(noise: Noise) -> list[float | None]:
    ends = (noise.value, noise.low, noise.high)
    return [float(f'{end:.4g}') if math.isfinite(end) else None for end in ends]


def rows(result: dict[str, Any]) -> Iterator[list[str]]:
    """The rows of a run in the table: its losses, then its modules."""
    where = [
        f'update {update}, loss {loss:.3g}'
        for update, loss in zip(result['updates'], result['loss'])
    ]
    yield [result['run'], '', *where]
    for module, triples in result['modules'].items():
        yield ['', module, *(cell(*triple) for triple in triples)]


def cell(images: float | None, low: float | None, high: float | None) -> str:
    """A noise scale with its interval."""
    ends = ['∞' if value is None else f'{value:.3g}' for value in (images, low, high)]
    return '{} ({} to {})'.format(*ends)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
