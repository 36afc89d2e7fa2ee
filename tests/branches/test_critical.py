"""The critical batch from the losses of branches, with numbers worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from logs import train_line, write_run

from agvm_runs.branches.critical import Critical, critical_batch, levels
from agvm_runs.branches.kept import FORMAT, Branch, keep, path_of, read, read_all
from agvm_runs.branches.summary import (
    keep_noise,
    kept_noise,
    sentence,
    to_json,
    to_markdown,
)
from agvm_runs.curves.history import read_history
from agvm_runs.curves.noise import Noise, noise_scales
from agvm_runs.work_dir import FileError

INFINITE = math.inf


def branches(losses: dict[int, list[float]]) -> list[Branch]:
    """Losses of the seeds by batch; the recipe's batch is 16 and a branch has 512 images."""
    return [
        Branch(batch // 16, batch, 512 // batch, 0.1 * batch / 16, seed, loss)
        for batch, by_seed in losses.items()
        for seed, loss in enumerate(by_seed)
    ]


def test_differences_are_those_of_one_seed() -> None:
    """Differences 0.1, 0.2, 0.3: mean 0.2, s.d. 0.1, t of three 4.30 to a few percent."""
    first, second = levels(branches({16: [1.0, 2.0, 3.0], 32: [1.1, 2.2, 3.3]}))
    assert (first.difference, first.low, first.high) == (0, 0, 0)
    assert first.loss == 2.0 and second.losses == (1.1, 2.2, 3.3)
    assert (second.factor, second.batch, second.updates, second.rate) == (2, 32, 16, 0.2)
    half = 4.30 * 0.1 / math.sqrt(3)
    assert second.difference == pytest.approx(0.2)
    assert second.low == pytest.approx(0.2 - half, abs=0.05 * half)
    assert second.high == pytest.approx(0.2 + half, abs=0.05 * half)


def test_only_seeds_that_every_batch_has_are_compared() -> None:
    found = levels(branches({32: [1.5, 5.0, 2.5], 16: [1.0, 2.0]}))
    assert [level.batch for level in found] == [16, 32]
    assert found[1].losses == (1.5, 5.0) and found[1].difference == pytest.approx(1.75)
    assert math.isnan(found[1].low)
    with pytest.raises(FileError, match='no seed has a branch at every batch'):
        levels([Branch(1, 16, 4, 0.1, 0, 1.0), Branch(2, 32, 2, 0.1, 1, 1.0)])


def test_the_critical_batch_is_the_last_before_the_first_that_is_worse() -> None:
    """A share of 0.1 of 2.0 allows 0.2. Batch 128 is better again, which no longer counts."""
    exact = {16: [2.0] * 3, 32: [2.15] * 3, 64: [2.25] * 3, 128: [2.1] * 3}
    found = levels(branches(exact))
    assert critical_batch(found, 0.1) == Critical(32, 32, 32, 128)
    assert critical_batch(found, 0.2) == Critical(128, 128, 128, 128)
    assert critical_batch(found, 0.05) == Critical(16, 16, 16, 128)


def test_the_interval_uses_both_ends_of_the_differences() -> None:
    """Tolerance 0.2. Half widths are about 2.5 s.d.: 32: 0.05 ± 0.02, 64: 0.15 ± 0.12 (its upper
    end is beyond), 128: 0.25 ± 0.12 (its lower end is within), 256: 0.5 ± 0.02."""
    spread = {32: (0.05, 0.008), 64: (0.15, 0.048), 128: (0.25, 0.048), 256: (0.5, 0.008)}
    losses = {16: [2.0] * 3}
    losses.update({b: [2 + mean - sd, 2 + mean, 2 + mean + sd] for b, (mean, sd) in spread.items()})
    assert critical_batch(levels(branches(losses)), 0.1) == Critical(64, 32, 128, 256)


def test_without_three_seeds_there_is_no_interval() -> None:
    found = levels(branches({16: [2.0, 2.0], 32: [2.1, 2.1], 64: [3.0, 3.0]}))
    assert critical_batch(found, 0.1) == Critical(32, None, None, 64)
    assert 'three seeds are needed' in sentence(found, critical_batch(found, 0.1), 0.1)


def test_a_batch_that_diverged_with_one_seed_is_too_large() -> None:
    found = levels(branches({16: [2.0] * 3, 32: [2.0, INFINITE, 2.0]}))
    assert (found[1].difference, found[1].low, found[1].high) == (INFINITE,) * 3
    assert critical_batch(found, 5.0) == Critical(16, 16, 16, 32)
    assert '| 32 (x2) | 16 | 0.2 | diverged |' in to_markdown(
        found, critical_batch(found, 0.1), [], 0.1
    )
    with pytest.raises(FileError, match='the smallest batch, 16, diverged'):
        levels(branches({16: [2.0, INFINITE], 32: [2.0, 2.0]}))


def test_an_end_at_the_largest_batch_is_open() -> None:
    found = levels(branches({16: [2.0] * 3, 32: [2.0] * 3}))
    text = sentence(found, critical_batch(found, 0.01), 0.01)
    assert text == (
        'Critical batch: 32, the largest tested (95 % interval 32 to 32 or more). Up to there the '
        'loss is at most 1.0% above that of batch 16.'
    )


def test_a_branch_is_read_as_it_was_kept(tmp_path: Path) -> None:
    one = Branch(
        4, 64, 8, 0.4, 1, 0.5, 640, dict(config='a.py'), dict(torch='2'), [[64, 1.0], [128, 0.5]]
    )
    diverged = Branch(8, 128, 4, 0.8, 1, INFINITE, None, dict(config='a.py'))
    for branch in (one, diverged):
        keep(tmp_path, branch)
    assert read_all(tmp_path) == [one, diverged]
    assert json.loads(path_of(tmp_path, 8, 1).read_text())['loss'] is None


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(format='other'), 'holds no branch'),
        (dict(factor=True), 'factor is True; allowed is a whole number'),
        (dict(loss='1'), "loss is '1'; allowed is a whole number or a number or null"),
        (dict(curve=None), 'curve is None; allowed is a list'),
    ],
)
def test_a_damaged_file_gives_one_sentence(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    keep(tmp_path, Branch(1, 16, 4, 0.1, 0, 1.0))
    path = path_of(tmp_path, 1, 0)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FileError) as refusal:
        read(path)
    assert words in str(refusal.value) and str(path) in str(refusal.value)


def test_branches_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    keep(tmp_path, Branch(1, 16, 4, 0.1, 0, 1.0, settings=dict(images=512, rule='sqrt')))
    keep(tmp_path, Branch(2, 32, 2, 0.1, 0, 1.0, settings=dict(images=1024, rule='sqrt')))
    with pytest.raises(FileError, match=r'x2_seed0.json was made with images 1024 and not 512'):
        read_all(tmp_path)
    with pytest.raises(FileError, match='holds no branch'):
        read_all(tmp_path / 'nothing')


def test_noise_scales_are_those_before_the_checkpoint(tmp_path: Path) -> None:
    """phi 0.5 at 8 images per noise scale 4: its ends 0.4 and 0.6 give 8/3 and 6."""
    entries = [
        {**train_line(1, step, loss=1.0), **values}
        for step, values in {
            20: {'agvm/phi/neck': 0.5, 'agvm/phi_low/neck': 0.4, 'agvm/phi_high/neck': 0.6,
                 'agvm/noise_scale/neck': 4.0},
            40: {'agvm/phi/neck': 0.9, 'agvm/noise_scale/neck': 36.0},
        }.items()
    ]  # fmt: skip
    write_run(tmp_path, entries)
    (one,) = noise_scales(read_history(tmp_path), 39)
    assert (one.module, one.value) == ('neck', 4.0)
    assert (one.low, one.high) == (pytest.approx(8 / 3), pytest.approx(6))
    (last,) = noise_scales(read_history(tmp_path))
    assert last.value == 36.0
    assert math.isnan(last.low) and math.isnan(last.high)  # the run logged no ends there
    (none,) = noise_scales(read_history(tmp_path), 10)
    assert math.isnan(none.value) and math.isnan(none.low)


def test_a_noise_scale_without_an_end_is_not_that_of_an_earlier_update(tmp_path: Path) -> None:
    """phi of 1 and more has no finite noise scale, and the log has none: 8 images as before."""
    entries = [
        {**train_line(1, step, loss=1.0), **values}
        for step, values in {
            20: {'agvm/phi/neck': 0.5, 'agvm/noise_scale/neck': 4.0},
            40: {'agvm/phi/neck': 1.1, 'agvm/phi_low/neck': 0.6, 'agvm/phi_high/neck': 1.6},
        }.items()
    ]
    write_run(tmp_path, entries)
    (one,) = noise_scales(read_history(tmp_path))
    assert one.value == one.high == INFINITE
    assert one.low == pytest.approx(6)


def test_noise_scales_are_read_as_they_were_kept(tmp_path: Path) -> None:
    known, open_end = Noise('a', 8.0, 4.0, 16.0), Noise('b', 8.0, 4.0, INFINITE)
    assert kept_noise(tmp_path) == []
    keep_noise(tmp_path, [known, open_end, Noise('c', math.nan, math.nan, math.nan)])
    *two, none = kept_noise(tmp_path)
    assert two == [known, open_end]
    assert none.module == 'c' and all(map(math.isnan, (none.value, none.low, none.high)))
    for content in (
        '{}',
        '[1]',
        '{"format": "agvm_mm noise scales 1", "modules": [{"module": 1}]}',
    ):
        (tmp_path / 'noise_scales.json').write_text(content)
        with pytest.raises(FileError, match='holds no noise scales of critical_batch'):
            kept_noise(tmp_path)


def test_the_table_has_the_module_beside_the_batch() -> None:
    found = levels(branches({16: [2.0] * 3, 32: [2.1] * 3, 64: [3.0] * 3}))
    critical = critical_batch(found, 0.1)
    noise = [Noise('neck', 8.0, 4.0, INFINITE), Noise('head', math.nan, math.nan, math.nan)]
    lines = to_markdown(found, critical, noise, 0.1).splitlines()
    assert '| 16 (x1) | 32 | 0.1 | 2.0000 ± 0.0000 |  |  |' in lines
    assert '| 64 (x4) | 8 | 0.4 | 3.0000 ± 0.0000 | +50.0 % | +50.0 to +50.0 % |' in lines
    assert '| neck | 8 | 4 to ∞ | 4 |' in lines and '| head | - |  | - |' in lines
    result = json.loads(json.dumps(to_json(found, critical, noise, 0.1, dict(images=512))))
    assert result['critical'] == dict(batch=32, low=32, high=32, largest=64)
    assert result['noise_scales'][0] == dict(module='neck', value=8.0, low=4.0, high=None)
    assert result['batches'][1]['loss'] == pytest.approx(2.1) and result['format'] != FORMAT
