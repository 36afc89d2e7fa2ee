"""Noise scales from windows: coverage on known noise, what follows at other batches, the tool."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from launcher import ROOT, run_tool
from mmengine.config import Config
from mmengine.registry import MODELS
from quality_toy import QualityToyModel, write_config
from torch import nn

from agvm_mm.parts import AGVMSettings
from agvm_mm.predict.forecast import Plan, run, write
from agvm_mm.predict.gradients import GradientSource
from agvm_mm.predict.render import tables, verdict
from agvm_mm.predict.window import scales_at, summarise
from agvm_mm.statistics import ScaleConfig, VarianceEstimate, moment_estimate
from agvm_runs.predictions.draw import prediction_figure
from agvm_runs.predictions.kept import FORMAT, read
from agvm_runs.predictions.window import Window, errors, pooled
from agvm_runs.quantiles import NORMAL_95

NAN = float('nan')


@MODELS.register_module(force=True)
class LinearToy(QualityToyModel):
    """Weights that torch draws."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)


def _window(phi: list[float], error: list[float], count: int = 400, images: float = 8) -> Window:
    return Window(np.array(phi), np.array(error), count, images)


def _estimates(
    count: int, modules: int, dim: int, signal: float, samples: int, generator: torch.Generator
) -> list[VarianceEstimate]:
    """Of unit Gaussian noise about a constant, shrinking as training makes it."""
    found = []
    for t in range(count):
        g = torch.randn(samples, modules, dim, generator=generator, dtype=torch.float64)
        g = (g + math.sqrt(signal / dim)) * 0.97**t
        a, b = g.square().sum(2).mean(0), g.mean(0).square().sum(1)
        found.append(moment_estimate(a, b, samples, images=2 * samples))
    return found


@pytest.mark.parametrize(('samples', 'signal'), [(2, 20.0), (8, 10.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(samples, signal):
    """300 independent modules of one truth: B_simple = 2 images x 100 / S, and phi."""
    generator = torch.Generator().manual_seed(samples)
    window = summarise(_estimates(30, 300, 100, signal, samples, generator))
    _, low, high = window.noise_scale()
    truth = 2 * 100 / signal
    assert 0.88 < float(((low <= truth) & (truth <= high)).mean()) < 0.99
    for batch in (2 * samples, 500):
        _, low, high = window.phi_at(batch)
        phi = 1 / (1 + batch / (2 * truth))
        assert 0.88 < float(((low <= phi) & (phi <= high)).mean()) < 0.99


def test_a_gradient_burst_does_not_take_over():
    """One estimate 1e6 times as large counts no more than four others."""
    ones = torch.ones(1).double()
    calm = [VarianceEstimate(0.5 * ones, ones, 4, 8) for _ in range(10)]
    burst = VarianceEstimate(1e6 * ones, 1e6 * ones, 4, 8)
    window = summarise([*calm[:5], burst, *calm[5:]])
    assert window.phi.item() == pytest.approx((10 * 0.5 + 4) / 14, abs=0.15)


def test_a_module_without_gradient_is_left_out_of_the_average():
    first, second = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 0.2]).double()
    part = VarianceEstimate(0.5 * first, first, 4, 8)
    both = VarianceEstimate(0.5 * first + second, torch.ones(2).double(), 4, 8)
    window = summarise([part, both, both, part, both])
    assert window.phi.tolist() == pytest.approx([0.5, 0.2]) and window.count == 3


def test_other_batches_by_hand():
    window = _window([0.8], [0.0])
    assert window.noise_scale()[0].item() == pytest.approx(16)  # 8 / (2 * (1 / 0.8 - 1))
    assert window.phi_at(32)[0].item() == pytest.approx(1 / (1 + 32 / 32))


def test_no_signal_has_no_upper_bound():
    scale, low, high = _window([0.99, 1.02], [0.02, 0.01]).noise_scale()
    assert math.isinf(high[0]) and 0 < low[0] < scale[0]
    assert math.isinf(scale[1]) and math.isinf(high[1])


def test_scales_have_the_clamp_and_the_anchor():
    config = ScaleConfig(anchor=0, clamp=(0.5, 10.0))
    scale, low, high = scales_at(_window([0.9, 0.5, 0.01], [0.01, 0.05, 0.001]), 8, config)
    assert scale[0] == low[0] == high[0] == 1
    assert float(scale[1]) == pytest.approx(math.sqrt(0.9 / 0.5), rel=1e-5)
    assert low[1] < scale[1] < high[1]
    assert float(scale[2]) == pytest.approx(math.sqrt(10)) == float(high[2])
    # First order: se(log scale) = sqrt((0.05 / 0.5)^2 + (0.01 / 0.9)^2) / 2.
    error = math.hypot(0.1, 0.01 / 0.9) / 2
    assert math.log(float(high[1] / scale[1])) == pytest.approx(1.966 * error, rel=0.01)


def _result(phi: list[float], error: list[float]) -> dict:
    entry = dict(phi=phi, error=error, count=400, images=8.0)
    measured = [dict(batch=32, blocks=1, phi=[0.5, 0.5], error=[NAN, NAN])]
    return dict(
        format=FORMAT,
        name='toy',
        plan=dict(images=2, samples=4, multiples=[4]),
        modules=['backbone', 'head'],
        anchor='backbone',
        clamp=[0.5, 10.0],
        seeds=[
            dict(seed=0, updates=[5, 9], window=entry, same_weights=entry, measured=measured),
        ],
    )


def test_the_sentence_follows_the_interval():
    sure, close, unsure = (
        _result(*values)
        for values in (
            ([0.9, 0.4], [0.001, 0.01]),
            ([0.9, 0.88], [0.001, 0.001]),
            ([0.9, 0.8], [0.1, 0.2]),
        )
    )
    assert 'multiply the learning rates of head by 1.50 (' in verdict(sure, pooled(sure), 8)
    assert 'change little' in verdict(close, pooled(close), 8)
    assert 'cannot tell' in verdict(unsure, pooled(unsure), 8)


def test_errors_are_relative_to_the_measurement():
    found = errors(_result([0.8, 0.5], [0.01, 0.01]), 'window')
    expected = [1 / (1 + 4 * 0.25) / 0.5 - 1, 1 / (1 + 4 * 1) / 0.5 - 1]
    assert found[32].tolist() == [pytest.approx(expected)]


def test_the_file_gives_back_what_was_written(tmp_path):
    result = _result([0.8, NAN], [0.01, NAN])
    write(result, tmp_path / 'a' / 'p.json')
    again = read(tmp_path / 'a' / 'p.json')
    assert again['seeds'][0]['window']['phi'] == [0.8, None]
    assert math.isnan(float(pooled(again).phi[1]))
    assert ' - ' in tables(again, [32])
    (tmp_path / 'b.json').write_text('{"format": "other"}')
    with pytest.raises(ValueError, match='b.json holds no prediction'):
        read(tmp_path / 'b.json')


def test_the_seed_is_that_of_weights_and_data(tmp_path):
    config = Config.fromfile(write_config(tmp_path))
    config.model = dict(type='LinearToy')
    config.train_dataloader.sampler.shuffle = True
    config.dump(tmp_path / 'random.py')
    sources = [GradientSource(tmp_path / 'random.py', seed=seed) for seed in (0, 0, 1)]
    weights = [source.model.layer.weight.tolist() for source in sources]
    batches = [source.next_batch()['inputs'].tolist() for source in sources]
    assert weights[0] == weights[1] != weights[2]
    assert batches[0] == batches[1] != batches[2]


def test_seeds_are_averaged():
    result = _result([0.8, 0.5], [0.02, 0.02])
    result['seeds'].append(result['seeds'][0])
    one, two = _result([0.8, 0.5], [0.02, 0.02]), pooled(result)
    assert two.phi.tolist() == pytest.approx(pooled(one).phi.tolist())
    assert float(two.error[0]) == pytest.approx(0.02 / math.sqrt(2))


def _plan(config: Path, **changes: float) -> Plan:
    return Plan(str(config), samples=2, updates=3, window=3, **changes)


def test_the_rate_is_the_one_given_even_if_it_is_0(tmp_path):
    config = write_config(tmp_path)
    assert run(_plan(config, rate=0.0), [0])['rate'] == 0
    assert run(_plan(config), [0])['rate'] == pytest.approx(0.4 * 2 / 4)


def test_anchor_and_clamp_are_the_configs_or_agvms_own(tmp_path, monkeypatch):
    keys = dict(anchor='head', clamp=[0.1, 3.0])
    result = run(_plan(write_config(tmp_path, agvm=keys)), [0])
    assert {key: result[key] for key in keys} == keys
    monkeypatch.setattr(AGVMSettings, 'clamp', (0.2, 2.0))
    result = run(_plan(write_config(tmp_path)), [0])
    assert (result['anchor'], result['clamp']) == ('backbone', [0.2, 2.0])


def test_a_gradient_by_kfac_is_refused_in_words_of_its_own(tmp_path):
    keys = dict(estimator='half_split', precondition='kfac')
    with pytest.raises(ValueError, match="precondition is 'kfac' and the prediction measures all"):
        run(_plan(write_config(tmp_path, agvm=keys)), [0])


def test_bars_are_as_long_as_the_normal_intervals():
    result = _result([0.8, 0.5], [0.01, 0.01])
    result['seeds'][0]['measured'][0]['error'] = [0.1, 0.1]
    [bars] = prediction_figure(result).axes[0].containers
    [[low, high]] = bars[2][0].get_segments()
    assert high[1] - low[1] == pytest.approx(2 * NORMAL_95 * 0.1, rel=1e-9)


def _scenes(folder: Path) -> Path:
    run_tool(
        'dataset_converters/generate_scenes.py',
        folder / 'scenes',
        *('--train', 16, '--val', 2, '--size', 64, 64, '--empty', 0),
    )
    return folder


def test_the_tool_on_a_detector(tmp_path):
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    out, figure = tmp_path / 'p.json', tmp_path / 'p'
    printed = run_tool(
        'analysis_tools/predict_batch_size.py',
        ROOT / 'tests' / 'training' / 'tiny_faster_rcnn.py',
        *('--samples', 2, '--updates', 6, '--check', 2, 4, '--blocks', 2, '--seeds', 0, 1),
        *('--batch', 64, '--json', out, '--figure', figure),
        data=_scenes(tmp_path),
    )
    result = json.loads(out.read_text())
    assert result['modules'] == ['backbone', 'neck', 'rpn_head', 'roi_head.bbox_head']
    assert [len(seed['estimates']) for seed in result['seeds']] == [6, 6]
    first, second = result['seeds']
    assert first['updates'] == [3, 5] and first['estimates'] != second['estimates']
    assert [(e['batch'], e['blocks']) for e in first['measured']] == [(4, 4), (8, 2)]
    assert 'Predicted phi and scale' in printed and 'At batch 64' in printed
    again = run_tool('analysis_tools/predict_batch_size.py', out, '--batch', 64)
    assert again.strip() and again.strip() in printed
    assert figure.with_suffix('.png').read_bytes().startswith(b'\x89PNG')


def test_the_tool_refuses_in_one_sentence():
    tool = 'analysis_tools/predict_batch_size.py'
    assert '--samples is 1; allowed' in run_tool(tool, 'x.py', '--samples', 1, fails=True)
    printed = run_tool(tool, 'x.py', '--updates', 5, '--window', 9, fails=True)
    assert '--window is 9; allowed is at most --updates (5)' in printed
