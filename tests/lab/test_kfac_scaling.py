"""What K-FAC adds on a cluster, against numbers worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tool_modules import load_tool
from torch import nn

from agvm_mm.kfac import KFAC, KFACSettings, count_traffic
from lab.scaling.cluster import Cluster, Link
from lab.scaling.kfac import Ranks, count_operations, kfac_cost

# One hop takes a second and bytes take no time.
SLOW = Cluster('', 1, Link(0.0, 1e300), Link(1.0, 1e300), 1e12, 0.0, 0.0, 0.1)
FREE = replace(SLOW, between=Link(0.0, 1e300))


def kfac_on(ranks: int, **options: Any) -> KFAC:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 6, 3, groups=2, bias=False),
        nn.Linear(6, 4),
    )
    return KFAC(network, KFACSettings(**options), Ranks(ranks))


def test_operations_of_one_layer() -> None:
    """The Linear: A of 7 rows, G of 4, within one block of rows each: 49 + 16 multiplications."""
    kfac = kfac_on(1)
    assert count_operations(kfac, {'3': 10.0}, 3).measuring == 2 * (49 + 16) * 10 * 3
    every = 8 * 28 * (8 + 28) + 2 * 3 * 36 * (3 + 36) + 4 * 7 * (4 + 7) + 4 * 8
    work = count_operations(kfac, {}, 1)
    assert (work.measuring, work.every) == (0, 2 * every)


def test_the_busiest_owner_or_everybody() -> None:
    alone = count_operations(kfac_on(1), {}, 1)
    shared = count_operations(kfac_on(4), {}, 1)
    same = count_operations(kfac_on(4, send='solutions'), {}, 1)
    assert alone.every / 4 <= shared.every < same.every == alone.every
    assert shared.inverting < alone.inverting


@pytest.mark.parametrize('send', ['gradients', 'solutions'])
def test_every_collective_has_its_latency(send: str) -> None:
    """Eight nodes of one GPU: three hops one way, six there and back."""
    kfac = kfac_on(8, send=send, statistics_interval=5, inverse_interval=10)
    cost, calls = kfac_cost(SLOW, kfac, {}, 1, 1e300), count_traffic(kfac)
    small = 2 * 6.0
    assert cost.every == pytest.approx(3 * calls.every)
    assert cost.measuring == pytest.approx(small + 3 * (calls.measuring - 2))
    assert cost.inverting == pytest.approx(6 + 3 * (calls.inverting - 1))
    assert cost.mean == pytest.approx(cost.every + cost.measuring / 5 + cost.inverting / 10)


def test_on_a_free_network_operations_are_all() -> None:
    kfac = kfac_on(8)
    work, cost = (
        count_operations(kfac, {'3': 4.0}, 2),
        kfac_cost(FREE, kfac, {'3': 4.0}, 2, 1e6),
    )
    found = (cost.every, cost.measuring, cost.inverting)
    assert found == pytest.approx((work.every / 1e6, work.measuring / 1e6, work.inverting / 1e6))


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    tool = load_tool('lab.kfac_scaling')
    options = ['--model', 'tiny', '--size', '64', '--gpus', '1', '4096', '--kfac', '{}']
    monkeypatch.setattr('sys.argv', ['kfac_scaling.py', *options, json.dumps({'max_block': 20})])
    tool.main()
    out = capsys.readouterr().out.splitlines()
    lines = [line for line in out if line.startswith(('| 1 |', '| 4096'))]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert [row[0] for row in cells] == ['1', '4096'] * 2
    assert cells[0][6] == '0 / 0 / 0' and cells[1][6] != '0 / 0 / 0'
    assert float(cells[3][8]) <= float(cells[1][8])
