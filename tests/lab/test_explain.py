"""The effective-batch experiment: its numbers by hand, its figure, its tool on a few updates."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from launcher import run_tool
from matplotlib import pyplot

from agvm_mm.predict.forecast import Plan
from agvm_runs.quantiles import NORMAL_95
from lab.explain import steps as explain
from lab.explain.draw import _draw_step, draw_steps
from lab.explain.steps import FAMILIES, FORMAT, HEADS, curve, row

CONFIGS = Path(__file__).resolve().parents[2] / 'lab' / 'configs'


def _result(family: str, phis: tuple[float, float], label: str = 'a step') -> dict[str, Any]:
    window = dict(phi=list(phis), error=[0.01, 0.02], count=50, images=16.0)
    estimates = [
        dict(update=t, images=16, numerator=[phi + 0.01 * (-1) ** t for phi in phis],
             denominator=[1.0, 1.0])
        for t in range(8)
    ]  # fmt: skip
    seed = dict(seed=0, updates=[4, 7], estimates=estimates, window=window)
    modules = ['backbone', HEADS[family]]
    return dict(family=family, label=label, head=modules[1], modules=modules, seeds=[seed])


def test_octaves_apart_by_hand():
    # x = 1/9 and 1: the head sees nine times the signal, and B_simple is 16 / (2 x).
    found = row(_result('retinanet', (0.9, 0.5)))
    assert found.noise_scale == pytest.approx((72, 8))
    assert found.octaves == pytest.approx(math.log2(9))
    relative = (0.01 / 0.81 * 9, 0.02 / 0.25)
    assert found.octaves_error == pytest.approx(math.hypot(*relative) / math.log(2))
    assert row(_result('retinanet', (0.7, 0.7))).octaves == pytest.approx(0)


def test_without_signal_there_is_no_distance():
    assert math.isnan(row(_result('retinanet', (1.01, 0.5))).octaves)


def test_the_curve_is_a_sliding_window():
    found = curve(_result('retinanet', (0.9, 0.5)), 'bbox_head', 4)
    assert [update for update, _, _ in found] == [3, 4, 5, 6, 7]
    for _, phi, error in found:
        # Residuals of 0.01 about 0.5, four of them: sqrt(4 * 0.01^2 * 4 / 3) / 4.
        assert (phi, error) == (pytest.approx(0.5), pytest.approx(0.01 / math.sqrt(3)))


def test_the_band_is_as_wide_as_the_normal_interval():
    axes = pyplot.figure().subplots()
    _draw_step(axes, _result('retinanet', (0.9, 0.5)), 4)
    heights = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert max(heights) - min(heights) == pytest.approx(2 * NORMAL_95 * 0.01 / math.sqrt(3))
    pyplot.close(axes.figure)


def test_every_step_has_its_config():
    names = [step.config for steps in FAMILIES.values() for step in steps]
    assert len(set(names)) == 7 and all((CONFIGS / f'{name}.py').is_file() for name in names)


@pytest.mark.parametrize('family', list(FAMILIES))
def test_a_family_is_measured_step_by_step(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(plan: Plan, seeds: Any) -> dict[str, Any]:
        seen.append((plan, seeds))
        return dict(name=plan.config)

    monkeypatch.setattr(explain, 'run', run)
    plan = Plan('no config', images=3, updates=7, window=5)
    measuring = explain.measure(family, plan, [4, 5], CONFIGS)
    for number, (step, result) in enumerate(zip(FAMILIES[family], measuring, strict=True), 1):
        assert len(seen) == number, 'a step is measured when it is asked for'
        config = str(CONFIGS / f'{step.config}.py')
        head = dict(family=family, label=step.label, head=HEADS[family])
        assert result == {**head, 'name': config}
        assert seen[-1] == (Plan(config, images=3, updates=7, window=5), [4, 5])


def test_the_figure_and_the_table_come_from_the_file(tmp_path):
    steps = [_result('retinanet', (0.9, 0.5)), _result('retinanet', (1.2, 0.5), 'no signal'),
             _result('faster-rcnn', (0.9, 0.8))]  # fmt: skip
    path = tmp_path / 'steps.json'
    path.write_text(json.dumps({'format': FORMAT, 'steps': steps}))
    printed = run_tool('lab.effective_batch', path, '--figure', tmp_path / 'figure').splitlines()
    assert '| a step | 0.900 ± 0.010 | 0.500 ± 0.020 | 72.0 | 8.0 |' in printed[2]
    assert '+3.17 ± 0.20' in printed[2] and printed[3].endswith('| inf | 8.0 | - |')
    assert (tmp_path / 'figure.svg').stat().st_size > 10_000
    assert draw_steps(steps, tmp_path / 'again')[0].is_file()


def test_the_tool_refuses_in_one_sentence(tmp_path):
    printed = run_tool('lab.effective_batch', 'fcos', fails=True)
    assert "'fcos' is unknown; allowed is retinanet, faster-rcnn or a JSON file" in printed
    (tmp_path / 'x.json').write_text('{}')
    printed = run_tool('lab.effective_batch', tmp_path / 'x.json', fails=True)
    assert 'x.json holds no measurement' in printed and 'Traceback' not in printed


@pytest.mark.slow
@pytest.mark.parametrize('family', list(FAMILIES))
def test_the_tool_on_real_detectors(tmp_path: Path, family: str) -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    run_tool(
        'dataset_converters/generate_scenes.py',
        tmp_path / 'scenes',
        *('--train', 16, '--val', 2, '--size', 96, 96, '--empty', 0),
    )
    out = tmp_path / 'out.json'
    printed = run_tool(
        'lab.effective_batch',
        family,
        *('--updates', 4, '--window', 3, '--samples', 2, '--json', out),
        data=tmp_path,
    )
    steps = json.loads(out.read_text())['steps']
    assert [step['label'] for step in steps] == [step.label for step in FAMILIES[family]]
    assert all(len(step['seeds'][0]['estimates']) == 4 for step in steps)
    assert printed.count(f'| {family} |') == len(steps)
