"""One prediction as plain numbers: run it, keep it as JSON, read it back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agvm_runs.predictions.kept import FORMAT
from agvm_runs.predictions.window import Window
from agvm_runs.settings import AGVMSettings
from agvm_runs.work_dir import finite, write_own

from ..statistics import ScaleConfig
from .check import check
from .gradients import GradientSource
from .record import Record, record
from .small_batch import agvm_keys, small_batch_rate
from .window import summarise


@dataclass(frozen=True)
class Plan:
    """What is run, for every seed alike.

    Args:
        config: path of a training config.
        checkpoint: weights to start from instead of the config's initial ones.
        images: in a micro-batch.
        samples: micro-batches of an update, N.
        updates: optimizer updates.
        window: the last of them, from which the noise scales are taken.
        rate: learning rate; None for the config's, scaled to the small batch.
        multiples: of the small batch at which phi is measured too; empty for none.
        blocks: estimates at the largest multiple.
        device: 'cpu', 'cuda' ...
    """

    config: str
    checkpoint: str | None = None
    images: int = 1
    samples: int = 4
    updates: int = 200
    window: int = 100
    rate: float | None = None
    multiples: Sequence[int] = ()
    blocks: int = 4
    device: str = 'cpu'

    @property
    def batch(self) -> int:
        """Images of the small batch."""
        return self.images * self.samples


def run(plan: Plan, seeds: Sequence[int]) -> dict[str, Any]:
    """Everything that was measured, ready for JSON.

    Raises:
        ValueError: a set-up that AGVM refuses; fewer than three estimates in a window.
    """
    result: dict[str, Any] = {}
    for seed in seeds:
        source = GradientSource(plan.config, plan.images, plan.checkpoint, seed, plan.device)
        if not result:
            result = _header(plan, source)
        result['seeds'].append(_run_seed(plan, source, seed))
    return result


def _header(plan: Plan, source: GradientSource) -> dict[str, Any]:
    keys = agvm_keys(source.settings)
    wanted = keys.get('anchor', AGVMSettings.anchor)
    return {
        'format': FORMAT,
        'name': Path(plan.config).stem,
        'plan': {**asdict(plan), 'multiples': list(plan.multiples)},
        'rate': small_batch_rate(source.settings, plan.batch) if plan.rate is None else plan.rate,
        'data': len(source),
        'modules': list(source.partition.names),
        'anchor': source.partition.anchor(wanted) or wanted,
        'clamp': list(keys.get('clamp', AGVMSettings.clamp)),
        'seeds': [],
    }


def _run_seed(plan: Plan, source: GradientSource, seed: int) -> dict[str, Any]:
    records = record(source, plan.updates, plan.samples, plan.rate)
    kept = records[-plan.window :]
    if len(kept) < 3:
        raise ValueError(
            f'{len(kept)} of {plan.updates} updates gave a finite estimate; at least 3 are needed: '
            'raise --updates, or lower --lr if the loss diverged.'
        )
    found = {
        'seed': seed,
        'updates': [kept[0].update, kept[-1].update],
        'estimates': [_row(entry) for entry in records],
        'window': _window_dict(summarise([entry.estimate for entry in kept])),
    }
    if plan.multiples:
        small, measured = check(source, plan.samples, plan.window, plan.multiples, plan.blocks)
        found['same_weights'] = _window_dict(small)
        found['measured'] = [
            {**asdict(entry), 'phi': entry.phi.tolist(), 'error': entry.error.tolist()}
            for entry in measured
        ]
    return found


def _row(entry: Record) -> dict[str, Any]:
    return {
        'update': entry.update,
        'images': entry.estimate.images,
        'numerator': entry.estimate.numerator.tolist(),
        'denominator': entry.estimate.denominator.tolist(),
    }


def _window_dict(window: Window) -> dict[str, Any]:
    return {**asdict(window), 'phi': window.phi.tolist(), 'error': window.error.tolist()}


def scale_config(result: dict[str, Any]) -> ScaleConfig:
    """Anchor and clamp of the prediction."""
    low, high = result['clamp']
    return ScaleConfig(result['modules'].index(result['anchor']), clamp=(low, high))


def write(result: dict[str, Any], path: Path) -> None:
    """Keep it as JSON, its format first.

    Raises:
        FileError: something of another format lies there.
    """
    write_own(path, json.dumps(finite(result), indent=1), result['format'])
