"""A finished run's JSON file, read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agvm_runs.work_dir import read_result, score_of


@pytest.mark.parametrize('text', ['{', '[]', '{"loss": 1}', '{"scores": 1}', '\xff'])
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'stem_seed0.json'
    path.write_text(text, encoding='latin-1')
    with pytest.raises(ValueError, match='stem_seed0.json is not the result of a run'):
        read_result(path)


def test_the_bare_nan_of_older_files_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'stem_seed0.json'
    path.write_text('{"scores": {"mIoU": NaN}, "loss": [[1, NaN], [2, 1.0]]}')
    found = read_result(path)
    assert math.isnan(score_of(found['scores'], 'mIoU')) and math.isnan(found['loss'][0][1])


def test_no_scores_at_all_are_those_of_no_detections() -> None:
    """As mmdet's CocoMetric reports them; a wrong name is another matter."""
    assert score_of({'coco/bbox_mAP': 0.25}, 'coco/bbox_mAP') == 0.25
    assert score_of({}, 'coco/bbox_mAP') == 0.0
    with pytest.raises(
        ValueError, match="'mIoU' is no result of this run; there are coco/bbox_mAP"
    ):
        score_of({'coco/bbox_mAP': 0.25}, 'mIoU')
