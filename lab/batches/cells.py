"""Cells of the benchmark and their files: which rate to try next, and what a cell has scored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agvm_runs.work_dir import read_result, score_of

from ..trainings.tuning import best_of, next_rates
from .methods import first_rate
from .tasks import SCENES, TASKS
from .training import Run

TUNING_SEED = 100


@dataclass(frozen=True)
class Cell:
    """A method at a batch; see :func:`path_of` for its files.

    Args:
        method, batch, images, others, task: see :class:`.training.Run`.
    """

    method: str
    batch: int
    images: int
    others: float = 1.0
    task: str = SCENES

    @property
    def key(self) -> str:
        """The score that is compared."""
        return TASKS[self.task].key

    def run(self, rate: float, seed: int) -> Run:
        """One run of the cell."""
        return Run(self.method, self.batch, self.images, rate, seed, self.others, self.task)

    def results(self, folder: Path, seeds: Iterable[int]) -> list[dict[str, Any]]:
        """The results of these seeds at all rates."""
        path = path_of(folder, self.run(1.0, 0))
        pattern = path.name.replace('_lr1_seed0', '_lr*')
        found = [read_result(path) for path in sorted(path.parent.glob(pattern))]
        wanted = set(seeds)
        return [one for one in found if one['seed'] in wanted]

    def tried(self, folder: Path) -> dict[float, float]:
        """Score by rate of the tuning seed."""
        return {
            one['rate']: score_of(one['scores'], self.key)
            for one in self.results(folder, [TUNING_SEED])
        }

    def next_rates(self, folder: Path, budget: int) -> list[float]:
        """Rates that the search tries next."""
        first = first_rate(self.method, self.batch, TASKS[self.task].rates)
        first = float(f'{first:.3g}')
        return next_rates(self.tried(folder), first, budget)

    def best_rate(self, folder: Path) -> float | None:
        """The best rate of the search; None before it has begun."""
        tried = self.tried(folder)
        return best_of(tried) if tried else None

    def scores(self, folder: Path, seeds: Iterable[int]) -> list[dict[str, Any]]:
        """The results of these seeds at the best rate."""
        best = self.best_rate(folder)
        return [one for one in self.results(folder, seeds) if one['rate'] == best]


def path_of(folder: Path, run: Run) -> Path:
    """The file of a run, in ``<folder>/<images>``; other tasks than the scenes have a folder."""
    others = '' if run.others == 1 else f'_others{run.others:g}'
    method = run.method.replace(':', '_')
    name = f'{method}_b{run.batch}{others}_lr{run.rate:.4g}_seed{run.seed}.json'
    own = folder if run.task == SCENES else folder / run.task
    return own / str(run.images) / name
