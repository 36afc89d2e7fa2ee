"""Estimates from Gram matrices against the gradients themselves, and spread against theory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from launcher import ROOT, run_tool
from networks import ReplayNet
from quality_toy import write_config
from tool_modules import load_tool, parse

from agvm_mm.launch.errors import LaunchError
from agvm_mm.predict.gradients import GradientSource
from agvm_mm.statistics import (
    ModulePartition,
    ScaleConfig,
    VarianceEstimate,
    init_scales,
    partition_parameters,
    update_scales,
)
from agvm_mm.statistics.scales import target_scales
from agvm_runs.work_dir.files import FileError
from lab.estimator_quality import train
from lab.quality.gram import all_pairs, gram_matrices, half_split
from lab.quality.levels import measure_levels
from lab.quality.settling import settle
from lab.quality.spread import NoiseMoments, measure, noise_moments, theory

SIZES = dict(backbone=3000, neck=500)


def _partition() -> ModulePartition:
    return partition_parameters(ReplayNet(SIZES, torch.zeros(sum(SIZES.values()))))


def _gradients(count: int, mean: float = 0.2, seed: int = 0) -> list[list[torch.Tensor]]:
    """Unit Gaussian noise about a constant: S = mean^2 P, V = P, tr Sigma^2 = P."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(size, generator=generator) + mean for size in SIZES.values()]
        for _ in range(count)
    ]


def _flat(gradients: list[list[torch.Tensor]], module: int) -> torch.Tensor:
    return torch.stack([gradient[module] for gradient in gradients]).double()


def test_both_estimates_equal_those_of_the_gradients():
    gradients = _gradients(12)
    gram = gram_matrices(iter(gradients), 12, _partition())
    groups = torch.tensor([[0, 1, 2, 3], [7, 5, 11, 4]])
    for module in range(2):
        rows = _flat(gradients, module)
        for k, group in enumerate(groups):
            g = rows[group]
            a, b = g.square().sum(1).mean(), g.mean(0).square().sum()
            phi = 2 * (a - b) / (2 * b + a)
            assert all_pairs(gram[module], groups).phi[k] == pytest.approx(float(phi), rel=1e-5)
            first, second = g[:2].mean(0), g[2:].mean(0)
            cosine = torch.dot(first, second) / (first.norm() * second.norm())
            found = half_split(gram[module], groups).phi[k]
            assert found == pytest.approx(float(1 - cosine), rel=1e-5)


def test_the_moments_of_known_noise_are_found():
    gram = gram_matrices(iter(_gradients(200)), 200, _partition())
    found = noise_moments(gram[0])
    assert found.signal == pytest.approx(0.04 * 3000, rel=0.05)
    assert found.trace == pytest.approx(3000, rel=0.01)
    assert found.trace_square == pytest.approx(3000, rel=0.05)
    assert found.along_mean == pytest.approx(0.04 * 3000, rel=0.5)


def test_theory_by_hand():
    # S = 3, V = 4, N = 4: v = 1, B = 4; Var B = 4 * 2 / 4 + 2 * 8 / 16 = 3; Var v = 1 or 1/3.
    pairs, split = theory(NoiseMoments(3.0, 4.0, 8.0, 2.0), 4)
    assert split == pytest.approx(2 * (16 * 1 + 3) ** 0.5 / 25)
    assert pairs == pytest.approx(2 * (16 / 3 + 3) ** 0.5 / 25)


def test_observed_spread_is_the_predicted_one_for_gaussian_noise():
    gram = gram_matrices(iter(_gradients(512)), 512, _partition())
    generator = torch.Generator().manual_seed(1)
    for samples in (2, 8):
        found = measure(gram[1], samples, draws=60, generator=generator)
        assert found.phi == pytest.approx(2 / samples / (0.04 + 2 / samples), rel=0.03)
        assert found.all_pairs == pytest.approx(found.theory_all_pairs, rel=0.15)
        assert found.half_split == pytest.approx(found.theory_half_split, rel=0.15)
    assert found.gain == pytest.approx(found.theory_gain, rel=0.2)


def test_two_samples_give_both_estimators_the_same_spread():
    gram = gram_matrices(iter(_gradients(64)), 64, _partition())
    found = measure(gram[0], 2, draws=20, generator=torch.Generator().manual_seed(0))
    assert found.gain == pytest.approx(1.0, abs=0.01) and found.theory_gain == 1.0


def test_too_few_samples_are_refused():
    gram = gram_matrices(iter(_gradients(10)), 10, _partition())
    with pytest.raises(ValueError, match='10 sample gradients are too few.*N=8.*16'):
        measure(gram[0], 8, draws=1, generator=torch.Generator())


def test_settling_of_noiseless_estimates_is_that_of_the_averages():
    """With one and the same estimate, moments arrive at once and scales as 1 - 0.9^k."""
    phi = torch.tensor([0.4, 0.1], dtype=torch.float64)
    gram = torch.stack([_gram_of(value, 8) for value in phi.tolist()])
    arrivals = {}
    for average in ('moments', 'scale'):
        config = ScaleConfig(average=average, momentum=0.9)
        found = settle(gram, 8, 'all_pairs', config, 80, 2, torch.Generator().manual_seed(0))
        arrivals[average] = found.estimates
        assert found.limit == pytest.approx(target_scales(phi, config).tolist(), rel=1e-9)
    assert arrivals['moments'] == [1, 1]
    state, config = init_scales(2), ScaleConfig(average='scale', momentum=0.9)
    count, limit = 0, target_scales(phi, config)
    while not bool(((state.scales / limit - 1).abs() <= 0.05).all()):
        estimate = VarianceEstimate(phi, torch.ones_like(phi), 8, 0)
        state, count = update_scales(state, estimate, config), count + 1
    assert arrivals['scale'] == [1, count]


def test_streams_shorter_than_the_average_reaches_are_refused():
    gram = _gram_of(0.4, 8).unsqueeze(0)
    for horizon, momentum, least in ((32, 0.97, 33), (9, 0.9, 10)):
        config = ScaleConfig(momentum=momentum)
        with pytest.raises(
            ValueError, match=f'^{horizon} estimates are too few.* at least {least}'
        ):
            settle(gram, 8, 'all_pairs', config, horizon, 1, torch.Generator())


def test_updates_before_measuring_have_the_rate_of_their_batch_and_the_configs_options(tmp_path):
    """The head stands still; the backbone's gradient is the data, at a quarter of the rate."""
    paramwise = dict(custom_keys={'head': dict(lr_mult=0.0)})
    config = write_config(tmp_path, 0.0, paramwise_cfg=paramwise, clip_grad=dict(max_norm=100))
    source = GradientSource(config, images=1)
    train(source, 0)
    assert float(source.model.backbone.weight.detach()) == 0
    train(source, 20)  # the rate is there after two updates, 0.05 and 0.1
    rates = 0.05 + 19 * 0.1
    assert float(source.model.backbone.weight.detach()) == pytest.approx(-rates)
    assert float(source.model.head.weight.detach()) == 0


def test_modules_are_those_of_the_config(tmp_path):
    modules = {'all': ['backbone', 'head']}
    source = GradientSource(write_config(tmp_path, agvm=dict(modules=modules)))
    assert source.partition.names == ('all',)


@pytest.mark.parametrize(
    ('agvm', 'option', 'anchor'),
    [(None, [], 'backbone'), (dict(anchor='head'), [], 'head'),
     (dict(anchor='head'), ['--anchor', 'backbone'], 'backbone')],
)  # fmt: skip
def test_the_anchor_is_the_configs_unless_given(tmp_path, monkeypatch, agvm, option, anchor):
    tool = load_tool('lab.estimator_quality')
    source = GradientSource(write_config(tmp_path, agvm=agvm))
    assert tool.anchor_of(source, parse(tool, monkeypatch, 'x.py', *option)) == anchor


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['--samples', 63], '--samples is 63; allowed is a whole number, at least 64'),
        (['--ranks', 2, '--settle-at', 300], '--samples is 256; allowed is .* at least 300'),
        (['--horizon', 32], '--horizon is 32; allowed is a whole number, at least 33'),
        (['--levels', 1, 8], '--levels is 1; allowed is a whole number, at least 2'),
        (['--out', 'QUALITY/out.json'], 'out.json cannot be written: Not a directory'),
        (['--anchor', 'trunk'], "the anchor is 'trunk'; allowed is backbone, head, with --anchor"),
    ],
)
def test_the_tool_refuses_before_it_trains(tmp_path, monkeypatch, args, words):
    tool = load_tool('lab.estimator_quality')
    monkeypatch.setattr(tool, 'train', lambda *_: pytest.fail('it trains'))
    (tmp_path / 'QUALITY').write_text('a file')
    monkeypatch.chdir(tmp_path)
    parse(tool, monkeypatch, write_config(tmp_path), *args)
    with pytest.raises((LaunchError, FileError), match=words):
        tool.main()


def test_a_config_that_is_missing_is_named():
    with pytest.raises(LaunchError, match='the config missing.py does not exist'):
        GradientSource('missing.py')


def _gram_of(phi: float, samples: int) -> torch.Tensor:
    """Equal norms and equal products, so that every group of ``samples`` has this phi."""
    # phi = 2 (A - B) / ((N - 2) B + A) with A = 1 and B = (1 + (N - 1) c) / N.
    b = (2 - phi) / (2 + phi * (samples - 2))
    c = (samples * b - 1) / (samples - 1)
    return torch.full((3 * samples, 3 * samples), c, dtype=torch.float64).fill_diagonal_(1.0)


def test_levels_are_estimates_of_consecutive_blocks():
    gradients = _gradients(12)
    config = ScaleConfig()
    levels = measure_levels(iter(gradients), _partition(), [3, 12], config)
    assert [(level.samples, level.blocks) for level in levels] == [(3, 4), (12, 1)]
    gram = gram_matrices(iter(gradients), 12, _partition())
    for level, groups in zip(levels, (torch.arange(12).view(4, 3), torch.arange(12).view(1, 12))):
        found = [all_pairs(module, groups) for module in gram]
        phi = [float(e.numerator.sum() / e.denominator.sum()) for e in found]
        assert level.phi == pytest.approx(phi, rel=1e-5)
        scales = target_scales(torch.tensor(level.phi, dtype=torch.float64), config)
        assert level.scales == pytest.approx(scales.tolist(), rel=1e-9)
    # The first level predicts itself, and at four times the batch phi(4 N) = 1 / (1 + 4 x).
    assert levels[0].predicted == pytest.approx(levels[0].phi)
    expected = [1 / (1 + 4 * (1 / phi - 1)) for phi in levels[0].phi]
    assert levels[1].predicted == pytest.approx(expected)


def _scenes(folder: Path) -> Path:
    run_tool(
        'dataset_converters/generate_scenes.py',
        folder / 'scenes',
        *('--train', 8, '--val', 2, '--size', 64, 64, '--empty', 0),
    )
    return folder


def test_the_tool_on_a_detector(tmp_path):
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    out = tmp_path / 'quality.json'
    printed = run_tool(
        'lab.estimator_quality',
        ROOT / 'tests' / 'training' / 'tiny_faster_rcnn.py',
        *('--samples', 16, '--ranks', 2, 4, '--draws', 5, '--train', 2),
        *('--settle-at', 4, '--horizon', 40, '--streams', 2, '--levels', 4, 8),
        *('--out', out),
        data=_scenes(tmp_path),
    )
    result = json.loads(out.read_text())
    modules = ['backbone', 'neck', 'rpn_head', 'roi_head.bbox_head']
    assert list(result['spread']) == modules
    assert [entry['samples'] for entry in result['spread']['neck']] == [2, 4]
    assert len(result['settling']) == 4 and len(result['levels']) == 2
    assert all(0 < phi < 2 for level in result['levels'] for phi in level['phi'])
    assert 'theory' in printed
