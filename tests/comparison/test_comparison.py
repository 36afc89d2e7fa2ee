"""Runs side by side, from logs that are written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from launcher import run_tool

from agvm_runs.comparison import (
    compare_figure,
    difference_table,
    read_course,
    result_table,
    with_scores,
)
from agvm_runs.work_dir import FileError, scalars

LOG = '-' * 60 + '\nSystem environment:\n    Python: 3.11\nRuntime environment:\n'


def _launch(folder: Path, name: str, lines: list[dict[str, Any]], ranks: int, counts: int) -> None:
    data = folder / name / 'vis_data'
    data.mkdir(parents=True)
    (data / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    # A config that has a base of another package has its scope; the work directory is its own.
    (data / 'config.py').write_text(
        f'optim_wrapper = dict(type="AGVMOptimWrapper", accumulative_counts={counts},\n'
        f'    optimizer=dict(type="SGD", lr={0.1 / ranks}))\n'
        f'train_dataloader = dict(batch_size=2, _scope_="{folder.name}")\nwork_dir = "{folder}"\n'
    )
    (data.parent / 'a.log').write_text(f'{LOG}    GPU number: {ranks}\n{"-" * 60}\n')


def _line(iteration: int, loss: float, time: float = 0.5) -> dict[str, Any]:
    return dict(iter=iteration, step=iteration, loss=loss, time=time, data_time=0.1)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """One run of 2 x 4 micro-batches, resumed on 4 x 2; one of 1 x 1 without evaluation."""
    score = {'coco/bbox_mAP': 0.2, 'coco/bbox_mAP_s': 0.1, 'step': 1}
    _launch(tmp_path / 'a', '1', [_line(4, 3.0), _line(8, 2.0), score], 2, 4)
    _launch(tmp_path / 'a', '2', [_line(6, 1.0), {**score, 'coco/bbox_mAP': 0.1}], 4, 2)
    _launch(tmp_path / 'b', '1', [_line(1, 5.0), _line(2, 4.0)], 1, 1)
    return [tmp_path / 'a', tmp_path / 'b']


def test_a_resume_on_other_ranks_goes_on_in_updates(runs: list[Path]) -> None:
    course = read_course(runs[0])
    assert list(course.loss) == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert list(course.scores['coco/bbox_mAP']) == [(2, 0.2), (3, 0.1)]
    assert (course.batch, course.updates) == (16, 3)


def test_a_line_is_parsed_once(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the first one of training, by which launches of one run are told."""
    parsed: list[str] = []
    monkeypatch.setattr(scalars, 'parse_json', lambda line: parsed.append(line) or json.loads(line))
    read_course(runs[0])
    lines = [line for log in runs[0].glob('*/vis_data/scalars.json') for line in log.open()]
    assert len(lines) == 5 and len(parsed) == 5 + 2


def test_seconds_are_the_iterations_times_their_mean_time(runs: list[Path]) -> None:
    """The first line of a launch does not tell how many iterations lie behind it: one counts."""
    assert list(read_course(runs[0]).seconds) == [(1, 0.5), (2, 2.5), (3, 3.0)]


def test_tables(runs: list[Path]) -> None:
    courses = [read_course(run) for run in runs]
    assert difference_table(courses).splitlines()[2:] == [
        '| optim_wrapper.accumulative_counts | 2 | 1 |',
        '| optim_wrapper.optimizer.lr | 0.025 | 0.1 |',
    ]
    assert difference_table(courses[:1] * 2) == ''
    assert result_table(courses).splitlines() == [
        '| run | batch | updates | loss | time | coco/bbox_mAP, last (best) |',
        '| --- | --- | --- | --- | --- | --- |',
        '| a | 16 | 3 | 1 | 0.1 min | 0.100 (0.200) |',
        '| b | 2 | 2 | 4 | 0.0 min | - |',
    ]


@pytest.mark.parametrize(
    ('clock', 'expected'), [('updates', 3.0), ('images', 48.0), ('seconds', 3.0)]
)
def test_the_figure(runs: list[Path], clock: str, expected: float) -> None:
    figure = compare_figure([read_course(run) for run in runs], clock)
    assert [axes.get_ylabel() for axes in figure.axes] == ['loss', 'coco/bbox_mAP']
    assert figure.axes[0].get_lines()[0].get_xdata()[-1] == expected
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['a', 'b']


def test_a_quantity_that_no_run_has_gets_no_panel(runs: list[Path]) -> None:
    figure = compare_figure([read_course(runs[1])])
    assert [axes.get_ylabel() for axes in figure.axes] == ['loss']


def test_a_run_without_a_line_is_named(tmp_path: Path) -> None:
    _launch(tmp_path / 'new', '1', [], 1, 1)
    with pytest.raises(FileError, match='new has no line of training yet: nothing to compare'):
        read_course(tmp_path / 'new')
    with pytest.raises(FileError, match='holds no'):
        read_course(tmp_path / 'none')


def test_chosen_scores(runs: list[Path]) -> None:
    course = with_scores(read_course(runs[0]), ['coco/bbox_mAP_s'])
    assert result_table([course]).splitlines()[2] == '| a | 16 | 3 | 1 | 0.1 min | 0.100 (0.100) |'
    with pytest.raises(FileError, match="'mIoU', which a has not logged; allowed are coco/bbox_m"):
        with_scores(read_course(runs[0]), ['coco/bbox_mAP', 'mIoU'])


def test_the_tool(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / 'figure'
    text = run_tool('analysis_tools/compare.py', *runs, '--out', out)
    assert '| a | 16 | 3 |' in str(text) and out.with_suffix('.svg').is_file()
    assert '| setting |' in text
    text = run_tool('analysis_tools/compare.py', *runs, '--out', out, '--results-only')
    assert text.startswith('| run | batch | updates |') and '| a | 16 | 3 |' in text
    text = run_tool(
        'analysis_tools/compare.py', runs[0], '--out', out, '--scores', 'coco/bbox_mAP_s'
    )
    assert 'coco/bbox_mAP_s, last (best)' in text and 'coco/bbox_mAP, ' not in text
