r"""The steps, what they measured, and how near the head has come to the backbone.

The distance between the two is

.. math:: \Delta = \log_2 \frac{B_\mathrm{simple,backbone}}{B_\mathrm{simple,head}}
          = \log_2 \frac{1 / \varphi_\mathrm{head} - 1}{1 / \varphi_\mathrm{backbone} - 1}

octaves of effective batch size: 0 where the curves coincide, 3 where the head gets as much out of
one image as the backbone of eight. It does not depend on the batch at which phi was measured.

Source: Xue et al., NeurIPS 2022, for the experiment; the measure of distance is this project's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agvm_mm.predict.forecast import Plan, run
from agvm_mm.predict.window import summarise
from agvm_mm.statistics import VarianceEstimate
from agvm_runs.predictions.window import Window, pooled

FORMAT = 'agvm_mm effective batch 1'
BACKBONE = 'backbone'


@dataclass(frozen=True)
class Step:
    """One step of the experiment; each keeps what the steps before it changed.

    Args:
        label: what was changed.
        config: stem of its file.
    """

    label: str
    config: str


FAMILIES = {
    'retinanet': (
        Step('one head for five levels', 'retinanet_r18_fpn_scenes'),
        Step('a head for every level', 'retinanet_r18_fpn-separate-heads_scenes'),
        Step('and no FPN', 'retinanet_r18_separate-heads-no-fpn_scenes'),
        Step('and 75 % of pixels dropped', 'retinanet_r18_separate-heads-no-fpn-drop75_scenes'),
    ),
    'faster-rcnn': (
        Step('64 proposals an image', 'faster-rcnn_r18_fpn_scenes'),
        Step('4 proposals an image', 'faster-rcnn_r18_fpn-few-proposals_scenes'),
        Step('and no FPN', 'faster-rcnn_r18_few-proposals-no-fpn_scenes'),
    ),
}
HEADS = {'retinanet': 'bbox_head', 'faster-rcnn': 'roi_head.bbox_head'}


def measure(
    family: str, plan: Plan, seeds: Sequence[int], configs: Path
) -> Iterator[dict[str, Any]]:
    """Run the steps of a family one after the other.

    Args:
        family: key of :data:`FAMILIES`.
        plan: of every step; its config is replaced.
        seeds: of every step.
        configs: folder of the steps' configs.
    """
    for step in FAMILIES[family]:
        settings = {**plan.__dict__, 'config': str(configs / f'{step.config}.py')}
        yield {
            'family': family,
            'label': step.label,
            'head': HEADS[family],
            **run(Plan(**settings), seeds),
        }


@dataclass(frozen=True)
class Row:
    """One step in numbers, backbone and head.

    Args:
        family: key of :data:`FAMILIES`.
        label: of the step.
        phi: normalised variance of both.
        error: standard errors of ``phi``.
        noise_scale: of both, images.
        octaves: the distance of this file; NaN where one of them showed no signal.
        octaves_error: its standard error.
    """

    family: str
    label: str
    phi: tuple[float, float]
    error: tuple[float, float]
    noise_scale: tuple[float, float]
    octaves: float
    octaves_error: float


def row(result: dict[str, Any]) -> Row:
    """The numbers of a step, the mean over its seeds."""
    window = pooled(result)
    pair = [result['modules'].index(name) for name in (BACKBONE, result['head'])]
    phi, error, scale = (
        (float(column[pair[0]]), float(column[pair[1]]))
        for column in (window.phi, window.error, window.noise_scale()[0])
    )
    octaves, spread = _octaves(window, *pair)
    return Row(result['family'], result['label'], phi, error, scale, octaves, spread)


def _octaves(window: Window, backbone: int, head: int) -> tuple[float, float]:
    x = 1 / window.phi - 1
    if not (x[backbone] > 0 and x[head] > 0):
        return math.nan, math.nan
    relative = window.inverse_error / x
    error = math.hypot(relative[backbone], relative[head]) / math.log(2)
    return math.log2(x[head] / x[backbone]), error


def apart(found: Row, digits: int) -> str:
    """The distance and its standard error as text; a dash where there is none."""
    if math.isnan(found.octaves):
        return '-'
    return f'{found.octaves:+.{digits}f} ± {found.octaves_error:.{digits}f}'


def curve(result: dict[str, Any], module: str, width: int) -> list[tuple[int, float, float]]:
    """Phi over training with its standard error: (update, phi, error), the mean over seeds.

    Args:
        result: of a step.
        module: whose.
        width: estimates of the sliding window.
    """
    i = result['modules'].index(module)
    by_update: dict[int, list[Window]] = {}
    for seed in result['seeds']:
        entries = seed['estimates']
        for end in range(width, len(entries) + 1):
            window = summarise([_estimate(entry, i) for entry in entries[end - width : end]])
            by_update.setdefault(entries[end - 1]['update'], []).append(window)
    return [
        (
            update,
            sum(w.phi.item() for w in windows) / len(windows),
            math.hypot(*(w.error.item() for w in windows)) / len(windows),
        )
        for update, windows in sorted(by_update.items())
        if len(windows) == len(result['seeds'])
    ]


def _estimate(entry: dict[str, Any], i: int) -> VarianceEstimate:
    numerator, denominator = (
        torch.tensor([entry[key][i]], dtype=torch.float64) for key in ('numerator', 'denominator')
    )
    return VarianceEstimate(numerator, denominator, samples=2, images=entry['images'])
