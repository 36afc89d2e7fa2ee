"""Three points of a run with the noise scales there, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from logs import train_line, write_run

from agvm_runs.report.run import read_run
from agvm_runs.work_dir import FileError
from lab import noise_scales

BATCH, PHI = 8, {10: 0.5, 20: 0.8, 30: 0.8, 40: 0.75}  # by iteration


def write(folder: Path) -> None:
    """A run of 40 iterations in two micro-batches of 4 images, with phi of two modules."""
    lines = []
    for step, phi in PHI.items():
        ends = {'phi': phi, 'phi_low': 0.4, 'phi_high': 1.1 if step == 40 else 0.9}
        ends['noise_scale'] = by_hand(phi)
        values = {f'agvm/{key}/{m}': v for key, v in ends.items() for m in ('backbone', 'neck')}
        lines.append({**train_line(1, step, loss=100.0 / step), **values})
    write_run(folder, lines)
    (log,) = folder.glob('*/vis_data')
    (log / 'config.py').write_text(
        'train_dataloader = dict(batch_size=4)\n'
        "optim_wrapper = dict(type='AGVMOptimWrapper', accumulative_counts=2)\n"
    )


def by_hand(phi: float) -> float:
    return BATCH / 2 * phi / (1 - phi)


def test_points_and_ends(tmp_path: Path) -> None:
    write(tmp_path)
    found = noise_scales.measured(read_run(tmp_path))
    assert (found['batch'], found['updates'], found['loss']) == (8, [5, 10, 20], [10, 5, 2.5])
    early, middle, late = found['modules']['neck']
    assert early == pytest.approx([by_hand(0.5), by_hand(0.4), by_hand(0.9)], rel=1e-3)
    assert middle == pytest.approx([by_hand(0.8), by_hand(0.4), by_hand(0.9)], rel=1e-3)
    assert late[:2] == pytest.approx([by_hand(0.75), by_hand(0.4)], rel=1e-3)
    assert late[2] is None  # phi may be 1


def test_the_table_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / 'run')
    out = tmp_path / 'out.json'
    monkeypatch.setattr('sys.argv', ['lab', str(tmp_path / 'run'), '--out', str(out)])
    noise_scales.main()
    assert [run['run'] for run in json.loads(out.read_text())['runs']] == ['run']
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == '| run |  | update 5, loss 10 | update 10, loss 5 | update 20, loss 2.5 |'
    assert lines[3] == '|  | backbone | 4 (2.67 to 36) | 16 (2.67 to 36) | 12 (2.67 to ∞) |'


def test_a_run_without_intervals_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, [train_line(1, 10, loss=1.0)])
    with pytest.raises(FileError, match='logged no interval of phi'):
        noise_scales.measured(read_run(tmp_path))


def test_a_file_prints_its_table_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / 'run')
    out = str(tmp_path / 'out.json')
    monkeypatch.setattr('sys.argv', ['lab', str(tmp_path / 'run'), '--out', out])
    noise_scales.main()
    table = capsys.readouterr().out
    monkeypatch.setattr('sys.argv', ['lab', out])
    noise_scales.main()
    assert capsys.readouterr().out == table and '36)' in table


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'other.json'
    path.write_text('{"runs": []}')
    with pytest.raises(FileError, match='other.json is no file of noise_scales.py'):
        noise_scales.results_of(str(path))


def test_the_page_has_the_late_noise_scales_of_the_file() -> None:
    root = Path(__file__).resolve().parents[2]
    text = (root / 'docs/contributing/modules.md').read_text()
    runs = noise_scales.results_of(str(root / 'docs/results/modules/noise_scales.json'))
    assert len(runs) == 5
    for run in runs:
        for module, (*_, (late, *_)) in run['modules'].items():
            assert f'{module} {late:,.0f}' in text
