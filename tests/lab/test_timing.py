"""The benchmark's times and its report, on cases whose cost is prescribed."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ranks import run_ranks

from lab.cost import ranks as benchmark
from lab.cost import timing
from lab.cost.arms import PLAIN, Case
from lab.cost.counting import Count
from lab.cost.report import COLUMNS, numbers, table
from lab.cost.timing import Cost, Ratio
from lab.cost.workbench import Options

KEYS = [(PLAIN, False), ('other', True), ('other', False)]
WARMUP, REPEATS = 1, 4
SLOW = [7, 1, 10, 2, 5]  # what a round's seconds are multiplied with, the warm-up first


class Bench:
    """Its cases take seconds of a clock of its own."""

    device = torch.device('cpu')

    def __init__(self, rank: int) -> None:
        self.cases = [Case(arm, estimating, 1, lambda data: None) for arm, estimating in KEYS]
        self.order: list[int] = []
        self.rank = rank
        self.wall = self.cpu = 0.0

    def run(self, case: Case) -> None:
        index, number = KEYS.index((case.arm, case.estimating)), len(self.order) // len(KEYS)
        self.order.append(index)
        # Over plain's: 2 in every round; 1, 2, 3, 4 of the rounds after the warm-up.
        self.wall += SLOW[number] * [1, 2, number][index]
        self.cpu += SLOW[number] * ([1, 2, 6] if self.rank == 0 else [3, 2, 2])[index]

    def synchronize(self) -> None:
        pass


def _timed(rank: int) -> Any:
    bench: Any = Bench(rank)
    clocks = dict(perf_counter=lambda: bench.wall, process_time=lambda: bench.cpu)
    timing.time = SimpleNamespace(**clocks)  # type: ignore[assignment]
    return timing.time_cases(bench, REPEATS, WARMUP), bench.order


@pytest.fixture(scope='module')
def timed() -> list[Any]:
    return run_ranks(_timed, 2)


def test_every_round_begins_with_another_case(timed: list[Any]) -> None:
    for _, order in timed:
        assert order == [2, 0, 1, 0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2]


def test_times_are_ratios_to_plain_in_the_same_round(timed: list[Any]) -> None:
    """The seconds of plain are 1, 10, 2 and 5, of median 3.5; the warm-up is left out."""
    for costs, _ in timed:
        assert list(costs) == KEYS
        assert costs[PLAIN, False].time == Ratio(1.0, 1.0, 1.0, 3.5, 4)
        assert costs['other', True].time == Ratio(2.0, 2.0, 2.0, 7.0, 4)
        # 1, 20, 6 and 20 seconds.
        assert costs['other', False].time == Ratio(2.5, 1.75, 3.25, 13.0, 4)


def test_cpu_time_is_that_of_all_ranks(timed: list[Any]) -> None:
    """Plain takes 1 + 3 seconds, the others 2 + 2 and 6 + 2."""
    for costs, _ in timed:
        assert costs[PLAIN, False].cpu == Ratio(1.0, 1.0, 1.0, 14.0, 4)
        assert costs['other', True].cpu == Ratio(1.0, 1.0, 1.0, 14.0, 4)
        assert costs['other', False].cpu == Ratio(2.0, 2.0, 2.0, 28.0, 4)


COUNTS = {
    (PLAIN, False): Count(1000.0, 2.0, 4096, 1, 3, True),
    ('other', True): Count(1016.0, 3.5, 10240, 3, 3, False),
    ('other', False): Count(1000.0, 2.0, 3072, 1, 4, True),
}
COSTS = {
    key: Cost(Ratio(1.25, 1.125, 1.5, 0.5, 4), Ratio(1.0625, 1.0, 1.1, 0.25, 4)) for key in KEYS
}


def test_the_table_has_what_a_case_takes_beyond_plain() -> None:
    head, rule, *rows = table(COSTS, COUNTS).splitlines()
    assert [cell.strip() for cell in head.strip('|').split('|')] == list(COLUMNS)
    assert set(rule) <= set('|- :') and len(rows) == 3
    times = '1.2500 | 1.125 to 1.500 | 1.0625 | 1.000 to 1.100'
    assert rows == [
        f'| ddp | other | {times} | 1.000000 | 0 | 2 | 0.0 | 0 | 0 | bit for bit |',
        f'| other | estimating | {times} | 1.016000 | 16 | 3.5 | 6.0 | 2 | 0 | not bitwise |',
        f'| other | other | {times} | 1.000000 | 0 | 2 | -1.0 | 0 | 1 | bit for bit |',
    ]


def test_the_numbers_are_all_there_and_fit_into_json() -> None:
    found = json.loads(json.dumps(numbers(Options('tiny', ranks=3), 'a machine', COSTS, COUNTS)))
    assert found['machine'] == 'a machine' and found['options']['ranks'] == 3
    case = found['cases'][1]
    assert (case['arm'], case['estimating']) == ('other', True)
    assert case['time'] == dict(median=1.25, low=1.125, high=1.5, seconds=0.5, rounds=4)
    assert case['cpu']['median'] == 1.0625
    assert case['count'] == dict(
        bytes=1016.0, collectives=3.5, peak=10240, transfers=3, scalars=3, bitwise=False
    )


def test_the_backend_is_nccl_where_every_rank_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert benchmark.backend(Options('tiny', ranks=2, device='cuda')) == 'nccl'
    assert benchmark.backend(Options('tiny', ranks=3, device='cuda')) == 'gloo'
    assert benchmark.backend(Options('tiny', ranks=2, device='cpu')) == 'gloo'


def _fork(function: Callable[..., None], args: tuple[Any, ...], nprocs: int) -> None:
    """In the place of torch's spawn, so that the ranks have what the test has put in."""
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=function, args=(rank, *args)) for rank in range(nprocs)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0


def test_rank_0_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def workbench(options: Options, rank: int, counted: bool) -> Any:
        assert torch.distributed.get_world_size() == options.ranks
        assert torch.distributed.get_rank() == rank
        return counted

    def time_cases(bench: Any, repeats: int, warmup: int) -> Any:
        assert bench is False and (repeats, warmup) == (4, 1)
        return COSTS

    def count_cases(bench: Any) -> Any:
        assert bench is True
        return COUNTS

    monkeypatch.setattr(benchmark, 'spawn', _fork)
    monkeypatch.setattr(benchmark, 'Workbench', workbench)
    monkeypatch.setattr(benchmark, 'time_cases', time_cases)
    monkeypatch.setattr(benchmark, 'count_cases', count_cases)
    options, out = Options('tiny', images=3, repeats=4, warmup=1), tmp_path / 'new' / 'out.json'
    benchmark.run(options, out)
    title, *lines = capfd.readouterr().out.splitlines()
    assert title.startswith('tiny, 3 images a rank, CPU ')
    assert title.endswith(f', torch {torch.__version__}, 2 ranks, gloo, 4 rounds')
    assert lines == table(COSTS, COUNTS).splitlines()
    machine = title.removeprefix('tiny, 3 images a rank, ').removesuffix(', 4 rounds')
    expected = numbers(options, machine, COSTS, COUNTS)
    written = json.loads(out.read_text())
    assert written.pop('format') == 'agvm_mm benchmark 1'
    assert written == json.loads(json.dumps(expected))
