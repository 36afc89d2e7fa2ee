"""The long run with faults: its plan, its verdicts, and a short one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cpu_amp import needs_loss_scaler
from launcher import ROOT, run_tool
from tool_modules import load_tool

from agvm_runs.work_dir.files import FileError
from lab.faults import launch
from lab.faults.plan import METHODS, Options, draw_plan
from lab.faults.summary import judge, markdown

OPTIONS = Options(updates=600, ranks=2, save=50, check=100)
EQUAL = 'weights and buffers finite and bit for bit equal'
SKIPPED = "K-FAC's measurements skipped"


def _records(**changes: Any) -> list[list[dict[str, Any]]]:
    """Two ranks without a fault, killed once after 150 updates; ``changes`` to rank 1's last."""
    plan = draw_plan(OPTIONS)

    def record(update: int, life: int) -> dict[str, Any]:
        return dict(
            update=update, life=life, weights=f'w{update}', buffers=f'b{update}',
            memory=2**20 * 500, skipped=plan.skipped, estimates=update // 2,
            scales={'backbone': 1.0, 'neck': 3.0},
            kfac=dict(skipped=plan.skipped, unmeasured=0, unsolved=0),
        )  # fmt: skip

    ranks = [
        [record(100, 0), *(record(update, 1) for update in range(100, 601, 100))] for _ in range(2)
    ]
    ranks[1][-1] |= changes
    return ranks


def _failed(
    records: Any, reference: Any = None, killed: int = 3, method: str = 'agvm'
) -> list[str]:
    found = judge(replace(OPTIONS, method=method), records, [150] * killed, reference)
    assert markdown(found).count('**no**') == sum(not f.holds for f in found)
    return [f.point for f in found if not f.holds]


def test_the_plan_is_a_function_of_the_seed():
    plan = draw_plan(OPTIONS)
    assert plan == draw_plan(OPTIONS) != draw_plan(Options(updates=600, ranks=2, seed=1))
    assert len(plan.nan) == 6 and len(plan.empty) == 12 and len(plan.kills) == 3
    assert set(plan.nan.values()) <= {0, 1}
    assert {len(ranks) for ranks in plan.empty.values()} == {1, 2}
    assert all(50 < update <= 300 for update in plan.kills)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(ranks=1), 'at least 2 ranks'),
        (dict(updates=125), 'save=50 must divide the number of updates, 125'),
        (dict(updates=100), 'needs at least 102 updates'),
        (dict(method='lion'), "method is 'lion'; allowed is one of agvm, kfac, muon"),
    ],
)
def test_numbers_that_do_not_fit(options, words):
    with pytest.raises(ValueError, match=words):
        Options(**options)


def test_the_night_runs_every_method():
    text = (ROOT / '.ci' / 'nightly').read_text()
    assert f'for method in {" ".join(METHODS)}; do' in text


def test_a_run_without_a_flaw():
    records = _records()
    assert _failed(records, reference=_records()) == []


@pytest.mark.parametrize(
    ('changes', 'point'),
    [
        (dict(weights='other'), EQUAL),
        (dict(weights='NaN'), EQUAL),
        (dict(buffers='other'), EQUAL),
        (dict(buffers='NaN'), EQUAL),
        (dict(memory=2**20 * 530), 'resident memory of rank 1'),
        (dict(skipped=0), 'estimates skipped'),
        (dict(scales={'neck': 3.2}), 'scales'),
        (dict(scales={'neck': float('nan')}), 'scales'),
    ],
)
def test_a_flaw_is_found(changes, point):
    assert _failed(_records(**changes)) == [point]


@pytest.mark.parametrize(
    ('changes', 'points'),
    [
        (dict(), []),
        (dict(skipped=0), [SKIPPED]),
        (dict(unmeasured=1), ['layers without factors, or whose inversion failed']),
        (dict(unsolved=1), ['layers without factors, or whose inversion failed']),
    ],
)
def test_a_flaw_of_kfac_is_found_where_kfac_runs(changes: dict[str, int], points: list[str]):
    records = _records()
    records[1][-1]['kfac'] = records[1][-1]['kfac'] | changes
    assert _failed(records, method='kfac') == points
    assert _failed(records) == _failed(records, method='muon') == []


@pytest.mark.parametrize('key', ['weights', 'buffers', 'scales', 'skipped', 'estimates', 'kfac'])
def test_another_end_than_without_the_kills_is_found(key: str):
    other = _records()
    other[0][-1][key] = 'other'
    assert _failed(_records(), reference=other) == ['the end without the kills']


def test_flaws_that_only_time_shows():
    records = _records()
    records[0][0]['weights'] = 'before the kill'
    assert _failed(records) == [EQUAL]
    records = _records()
    del records[1][3]
    assert _failed(records) == [EQUAL]
    assert _failed(_records(), killed=2) == ['faults']


def test_memory_before_it_has_settled_does_not_count():
    records = _records()
    records[0][1]['memory'] = 2**20 * 100  # the first look of the last life
    assert _failed(records) == []


def test_findings_that_cannot_be_written_are_refused_before_the_run(tmp_path: Path, monkeypatch):
    tool, out = load_tool('lab.soak'), tmp_path / 'file' / 'soak.json'
    out.parent.write_text('no folder')
    monkeypatch.setattr(tool, 'run', lambda *_: pytest.fail('it runs'))
    monkeypatch.setattr('sys.argv', ['soak.py', '--out', str(out)])
    with pytest.raises(FileError, match='soak.json cannot be written: Not a directory'):
        tool.main()


@needs_loss_scaler
def test_a_folder_with_another_run_is_refused(tmp_path: Path):
    (tmp_path / 'rank0.jsonl').write_text('')
    with pytest.raises(ValueError, match='is not empty'):
        launch.run(tmp_path, OPTIONS)


@needs_loss_scaler
@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
def test_sixty_updates_with_a_kill(method: str, tmp_path: Path):
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    out = tmp_path / 'soak.json'
    arguments = dict(updates=60, ranks=3, save=10, check=10, kills=1, nan=0.06, empty=0.1)
    points = 11 if method == 'kfac' else 9
    printed = run_tool(
        'lab.soak',
        *(f'--{key}={value}' for key, value in arguments.items()),
        *(
            f'--method={method}',
            '--compare',
            '--growth=50',
            f'--out={out}',
            f'--work-dir={tmp_path / "work"}',
        ),
    )
    content = json.loads(out.read_text())
    assert printed.startswith('| point | found |') and '**no**' not in printed
    assert len(content['findings']) == points and all(f['holds'] for f in content['findings'])
    lives = [record['life'] for record in content['records'][0]]
    assert lives == sorted(lives) and set(lives) == {0, 1}
    assert content['records'][0][-1]['skipped'] > 0
    weights = {record['weights'] for record in content['records'][0]}
    assert len(weights) == len({record['update'] for record in content['records'][0]})


def test_a_torch_without_a_loss_scaler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(launch.torch.amp, 'GradScaler', raising=False)
    with pytest.raises(launch.SoakError, match='allowed is 2.3 or later'):
        launch.run(tmp_path / 'new', OPTIONS)
    assert not (tmp_path / 'new').exists()


@needs_loss_scaler
@pytest.mark.parametrize('first', [0, 1])
def test_all_ranks_that_fail_are_named(first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first rank that is seen to have failed may only have lost its peer."""
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\n[ $RANK = {first} ] || sleep 0.3\necho of $RANK; exit 3\n')
    python.chmod(0o755)
    monkeypatch.setattr(launch.sys, 'executable', str(python))
    monkeypatch.setattr(launch, 'PATIENCE', 60)
    with pytest.raises(launch.SoakError) as raised:
        launch.run(tmp_path / 'run', OPTIONS)
    assert str(raised.value).split() == [
        word for rank in '01' for word in f'rank {rank} ended with 3: of {rank}'.split()
    ]
    # A process that is forked later would wait for the thread of a store, which it does not have.
    threads = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]
    assert not [name for name in threads if 'store' in name]


@needs_loss_scaler
def test_a_rank_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\n[ $RANK = 1 ] && exit 3\nexec sleep 600\n')
    python.chmod(0o755)
    monkeypatch.setattr(launch.sys, 'executable', str(python))
    monkeypatch.setattr(launch, 'PATIENCE', 0.1)
    with pytest.raises(launch.SoakError, match='^rank 1 ended with 3:\n$'):
        launch.run(tmp_path / 'run', OPTIONS)


@needs_loss_scaler
def test_the_ranks_meet_at_a_port_that_was_open_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A port that is only free may be taken while rank 0 starts."""
    python = tmp_path / 'python'
    python.write_text(
        '#!/bin/bash\nexec 3<>/dev/tcp/$MASTER_ADDR/$MASTER_PORT || exit 3\n'
        'echo $RANK > $3/rank$RANK.jsonl\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(launch.sys, 'executable', str(python))
    assert launch.run(tmp_path / 'run', OPTIONS, kill=False) == ([[0], [1]], [])
