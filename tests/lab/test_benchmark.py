"""The benchmark's instruments on known quantities, and its counts on a real detector."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torch.distributed as dist
from launcher import run_tool
from networks import ReplayNet
from ranks import run_ranks
from torch.nn.parallel import DistributedDataParallel

from agvm_mm.statistics.scales import ScaleConfig, target_scales
from lab.cost.arms import PLAIN
from lab.cost.authors import AuthorsScheme
from lab.cost.host_reads import count_host_reads
from lab.cost.memory import measure_peak
from lab.cost.wire import count_traffic

SIZES = dict(backbone=30, neck=12)
TOTAL = sum(SIZES.values())
AUTHORS = "the authors' scheme"
CPU = torch.device('cpu')


def test_the_peak_is_the_highest_level_and_not_the_sum():
    with measure_peak(CPU) as peak:
        first = torch.zeros(1_000_000)
        del first
        second = torch.zeros(1_500_000)
        third = torch.zeros(10_000)
        del second, third
    assert peak.bytes == 4 * 1_510_000


def test_transfers_and_scalars_are_counted_apart():
    values = torch.ones(3)
    with count_host_reads(CPU) as reads:
        values.cpu()
        float(values[0])
        bool(values.sum() > 0)
    assert (reads.transfers, reads.scalars) == (1, 2)
    values.cpu()
    assert reads.transfers == 1, 'nothing is counted outside'


def _traffic(rank: int) -> tuple[int, int]:
    group = dist.new_group([0, 1])
    with count_traffic() as traffic:
        dist.all_reduce(torch.zeros(5, dtype=torch.float64))
        dist.reduce(torch.zeros(3), dst=0, group=group)
        dist.broadcast(tensor=torch.zeros(2), src=0)
        dist.all_gather([torch.zeros(7), torch.zeros(7)], torch.zeros(7))
    dist.all_reduce(torch.zeros(100))
    return traffic.calls, traffic.bytes


def test_what_is_handed_to_each_collective_is_counted():
    assert run_ranks(_traffic, 2) == [(4, 40 + 12 + 8 + 28)] * 2


def _gradient(rank: int) -> torch.Tensor:
    return torch.randn(TOTAL, generator=torch.Generator().manual_seed(rank)) + 0.3


def _authors(rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    model = DistributedDataParallel(ReplayNet(SIZES, torch.zeros(TOTAL)))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheme = AuthorsScheme(model, optimizer)
    data = dict(inputs=[_gradient(rank)])
    scheme.step(data, True)
    scales, step = scheme._state.scales, -model.module.flat()
    scheme.step(data, False)
    return scales, step, torch.cat([p.grad for p in model.parameters()])


@pytest.mark.parametrize('size', [2, 4])
def test_the_authors_scheme_gives_their_scales_and_the_mean_gradient(size):
    gradients = torch.stack([_gradient(rank) for rank in range(size)])
    first, second = gradients[: size // 2].mean(0), gradients[size // 2 :].mean(0)
    parts = list(SIZES.values())
    cosines = [
        torch.nn.functional.cosine_similarity(a, b, dim=0)
        for a, b in zip(first.split(parts), second.split(parts))
    ]
    config = ScaleConfig()
    target = target_scales(1 - torch.stack(cosines).double(), config)
    expected = config.momentum + (1 - config.momentum) * target
    mean = gradients.mean(0)
    scale = torch.cat([torch.full((n,), float(f)) for n, f in zip(parts, expected)])
    for scales, step, gradient in run_ranks(_authors, size):
        torch.testing.assert_close(scales, expected, rtol=1e-5, atol=0)
        assert abs(float(scales[1]) - 1) > 1e-3
        torch.testing.assert_close(step, mean * scale, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, mean, rtol=1e-5, atol=1e-6)


def _counts(rank: int) -> Any:
    from lab.cost.counting import count_cases
    from lab.cost.workbench import Options, Workbench

    bench = Workbench(Options('tiny', images=1), rank, counted=True)
    return count_cases(bench), sum(p.numel() for p in bench.parameters)


@pytest.fixture(scope='module', params=[2, 4])
def counted(request: pytest.FixtureRequest) -> tuple[int, Any, int]:
    """Number of ranks, counts of rank 0, trainable numbers."""
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    import torch._dynamo  # noqa: F401  imported before the ranks are forked

    from lab.cost.models import build_model

    build_model('tiny')
    counts, numbers = run_ranks(_counts, request.param)[0]
    return request.param, counts, numbers


MODULES = 4


def test_plain_ddp_hands_over_its_gradient_and_nothing_else(counted):
    _, counts, numbers = counted
    for arm in (PLAIN, f'{PLAIN}, again'):
        assert counts[arm, False].bytes == 4 * numbers
        assert counts[arm, False].bitwise


def test_all_pairs_adds_one_small_collective_and_one_transfer(counted):
    _, counts, _ = counted
    plain = counts[PLAIN, False]
    for (arm, estimating), count in counts.items():
        if not arm.startswith('all_pairs'):
            continue
        extra = 16 * (MODULES + 1) if estimating else 0
        assert count.bytes - plain.bytes == extra, arm
        assert count.collectives - plain.collectives == estimating, arm
        assert count.transfers - plain.transfers == estimating, arm
        assert count.peak - plain.peak <= 2**20, arm
        assert count.bitwise, arm


def test_half_split_adds_half_a_gradient(counted):
    ranks, counts, _ = counted
    plain, count = counts[PLAIN, False], counts['half_split, every 10', True]
    vector = 8 * (3 * MODULES + 2)
    half = 0 if ranks < 4 else plain.bytes / 2
    assert count.bytes - plain.bytes == half + vector
    assert count.bitwise
    other = counts['half_split, every 10', False]
    assert (other.bytes, other.collectives) == (plain.bytes, plain.collectives)


def test_the_authors_scheme_reduces_every_tensor(counted):
    ranks, counts, _ = counted
    plain, other, count = counts[PLAIN, False], counts[AUTHORS, False], counts[AUTHORS, True]
    assert other.bytes == plain.bytes and other.collectives == 90
    # Twice the gradient in reductions, the mean of a half from two ranks, the scales.
    assert count.bytes == plain.bytes * (2 + 2 / ranks) + 4 * MODULES
    assert count.collectives == 2 * 90 + 2 / ranks + 1


@pytest.mark.slow
def test_one_command_prints_everything_side_by_side(tmp_path):
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    out = tmp_path / 'benchmark.json'
    printed = run_tool('lab.benchmark', *('--model', 'tiny', '--repeats', 3, '--out', out))
    cases = json.loads(out.read_text())['cases']
    assert len(cases) == 12
    for case in cases:
        assert case['time']['rounds'] == case['cpu']['rounds'] == 3
        assert case['time']['median'] > 0 and case['cpu']['median'] > 0
    rows = [line for line in printed.splitlines() if line.startswith('| ')]
    assert len(rows) == 2 + len(cases)  # the head and the rule under it


def test_one_rank_is_refused():
    printed = run_tool('lab.benchmark', '--ranks', 1, fails=True)
    assert '--ranks is 1' in printed and 'Traceback' not in printed
