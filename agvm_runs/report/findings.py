"""What a reader of a run should be warned of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..curves.bands import band
from ..settings import AGVMSettings
from .run import Run

NEAR = 1e-3  # relative distance from the clamp
OFTEN = 0.05  # share of logged scales at the clamp that is worth a word


def findings(run: Run) -> list[str]:
    """Warnings, one sentence each; empty for a run without any."""
    found = list(_losses(run))
    if run.skipped is not None:
        found.append(
            f'Gradients were not finite at update {run.skipped}, and maybe later; such estimates '
            'were skipped and the scales stayed.'
        )
    settings = run.agvm
    if settings is not None and run.history is not None:
        found += [*_few_estimates(run, settings), *_clamped(run, settings), *_no_signal(run)]
    return found


def _losses(run: Run) -> Iterator[str]:
    loss = run.losses.get('loss')
    if loss is not None and not (finite := np.isfinite(loss.values)).all():
        yield f'The loss was not finite at iteration {loss.steps[~finite][0]}.'


def estimates_made(run: Run, settings: AGVMSettings) -> int:
    """Estimation steps among the updates so far."""
    return len(settings.estimation_steps(run.updates))


def _few_estimates(run: Run, settings: AGVMSettings) -> Iterator[str]:
    made, memory = estimates_made(run, settings), 1 / (1 - settings.momentum)
    if made >= settings.memories * memory:
        return
    if settings.averaging == 'scale':
        yield (
            f'{made} estimates are few for momentum {settings.momentum}: the scales are averages '
            f'that start at 1, and 1 still weighs {settings.momentum**made:.0%}.'
        )
    else:
        yield (
            f'{made} estimates are fewer than the {memory:.0f} that momentum {settings.momentum} '
            'averages: phi and the scales are less certain than they would be later.'
        )


def _clamped(run: Run, settings: AGVMSettings) -> Iterator[str]:
    ends = [float(bound) ** 0.5 for bound in settings.clamp]
    assert run.history is not None
    for module, curve in run.history.curves.get('scale', {}).items():
        for end in ends:
            hits = int(np.isclose(curve.values, end, rtol=NEAR, atol=0).sum())
            if hits > OFTEN * len(curve):
                yield (
                    f'The scale of {module} lay at the clamp ({end:.3f}) in {hits} of '
                    f'{len(curve)} logged steps: it would have gone further.'
                )


def _no_signal(run: Run) -> Iterator[str]:
    assert run.history is not None
    for module in run.history.modules():
        found = band(run.history, 'phi', module)
        if found and found[-1][2] >= 1:
            yield (
                f'At the end no signal of {module} can be told from its noise (phi may be 1): its '
                'noise scale has no upper bound and its learning-rate scale says little.'
            )
