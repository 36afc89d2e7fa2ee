"""A finished run as one JSON file, written and read back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from logs import evaluation, train_line, write_run

from agvm_runs.reproduce.runs import Run, find_runs
from agvm_runs.work_dir import read_result
from lab.trainings.results import distil, write_result

AGVM = {'agvm/phi/neck': 0.251234567, 'agvm/scale/neck': 0.9, 'agvm/neck.lr': 0.1}
ENTRIES = [
    {**train_line(1, 16, loss=2.0), **AGVM},
    train_line(1, 32, loss=1.23456789),
    evaluation(32, coco__bbox_mAP=0.25),
]


def test_a_result_holds_scores_losses_and_curves(tmp_path: Path) -> None:
    write_run(tmp_path, ENTRIES)
    assert distil(tmp_path, config='a.py', seed=3) == {
        'config': 'a.py',
        'seed': 3,
        'scores': {'coco/bbox_mAP': 0.25},
        'loss': [[16, 2.0], [32, 1.2346]],
        'modules': {'phi': {'neck': [[16, 0.25123]]}, 'scale': {'neck': [[16, 0.9]]}},
    }


def test_a_run_without_its_last_evaluation_has_no_result(tmp_path: Path) -> None:
    write_run(tmp_path, ENTRIES[:2])
    with pytest.raises(ValueError, match='ended with an evaluation'):
        distil(tmp_path)


def test_written_results_are_finished_runs(tmp_path: Path) -> None:
    result = {'seed': 3, 'scores': {'coco/bbox_mAP': 0.25}, 'loss': [[16, 2.0]]}
    write_result(tmp_path / 'stem_seed3.json', result)
    write_result(tmp_path / 'stem_lr0.1_seed3.json', result)
    assert read_result(tmp_path / 'stem_seed3.json') == result
    assert find_runs(tmp_path, 'stem', 'coco/bbox_mAP') == [Run(3, 0.25, True, '')]


def test_a_detector_without_detections_scores_zero(tmp_path: Path) -> None:
    write_run(tmp_path / 'work', [*ENTRIES[:2], evaluation(32)])
    write_result(tmp_path / 'stem_seed0.json', distil(tmp_path / 'work'))
    assert find_runs(tmp_path, 'stem', 'coco/bbox_mAP') == [Run(0, 0.0, True, '')]


def test_a_line_a_key(tmp_path: Path) -> None:
    write_result(tmp_path / 'one.json', {'seed': 1, 'loss': [[1, 2.0]]})
    text = (tmp_path / 'one.json').read_text()
    assert json.loads(text) == {'seed': 1, 'loss': [[1, 2.0]]}
    assert len(text.splitlines()) == 4


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    write_run(
        tmp_path / 'work',
        [
            {**train_line(1, 16, loss=math.nan), 'agvm/noise_scale/neck': math.inf},
            evaluation(32, coco__bbox_mAP=math.nan),
        ],
    )
    path = tmp_path / 'stem_seed0.json'
    write_result(path, {'pair': (math.nan, 1), **distil(tmp_path / 'work')})

    def refuse(name: str) -> None:
        raise AssertionError(f'{name} is no JSON')

    json.loads(path.read_text(), parse_constant=refuse)
    found = read_result(path)
    assert found['loss'] == [[16, None]] and found['pair'] == [None, 1]
    assert found['modules'] == {'noise_scale': {'neck': [[16, None]]}}
    (run,) = find_runs(tmp_path, 'stem', 'coco/bbox_mAP')
    assert run.value is not None and math.isnan(run.value)


def test_an_evaluation_that_scores_a_loss_ends_a_run(tmp_path: Path) -> None:
    write_run(tmp_path, [*ENTRIES[:2], evaluation(32, loss=0.5)])
    result = distil(tmp_path)
    assert result['scores'] == {'loss': 0.5} and len(result['loss']) == 2
