"""Data that a config names and nobody has is missed at the start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, METRICS

from agvm_mm.launch.data import check_test_data, check_training_data
from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.record import Launch, TrainOptions


@DATASETS.register_module()
class PlainDataset(BaseDataset):
    """Joins its paths as MMEngine does."""


@DATASETS.register_module()
class OwnPathsDataset(BaseDataset):
    """Joins its paths in a way of its own."""

    def _join_prefix(self) -> None:
        pass


@METRICS.register_module()
class ForeignMetric:
    """Of another package, which may find its file in some other place."""


def _config(folder: Path, **changes: Any) -> dict[str, Any]:
    """What is there: ``a.json`` and the folder ``images``."""
    (folder / 'images').mkdir()
    (folder / 'a.json').write_text('{}')
    dataset = dict(
        type='PlainDataset',
        data_root=str(folder),
        ann_file='a.json',
        data_prefix=dict(img='images'),
    )
    return dict(train_dataloader=dict(dataset={**dataset, **changes}))


def _check(config: dict[str, Any], dry_run: bool = False) -> Any:
    return check_training_data(Launch(Config(config), TrainOptions(dry_run=dry_run)))


def test_nothing_is_said_where_all_is_there(tmp_path: Path) -> None:
    assert _check(_config(tmp_path)) == []
    assert _check(dict(train_dataloader=dict(dataset=dict(type='PlainDataset')))) == []
    assert _check({}) == []


@pytest.mark.parametrize(
    ('changes', 'key', 'value', 'path'),
    [
        (dict(ann_file='b.json'), 'ann_file', 'b.json', 'b.json'),
        (dict(ann_file='/none/b.json'), 'ann_file', '/none/b.json', '/none/b.json'),
        (dict(type=PlainDataset, ann_file='b.json'), 'ann_file', 'b.json', 'b.json'),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, changes: dict[str, Any], key: str, value: str, path: str
) -> None:
    config = _config(tmp_path, **changes)
    expected = (
        f"train_dataloader.dataset.{key} is '{value}', and {tmp_path / path} does not exist; "
        'correct it or data_root in the config or with --cfg-options.'
    )
    with pytest.raises(LaunchError) as raised:
        _check(config)
    assert str(raised.value) == expected
    (note,) = _check(config, dry_run=True)
    assert note.text == f'Training would stop: {expected}' and note.level == logging.WARNING


@pytest.mark.parametrize('dry_run', [False, True])
def test_a_missing_folder_is_no_reason_to_stop(dry_run: bool, tmp_path: Path) -> None:
    """The file of annotations may have absolute paths, and a test no labels."""
    config = _config(tmp_path, data_prefix=dict(img='images', seg='labels/'))
    (note,) = _check(config, dry_run)
    assert note.level == logging.WARNING and note.text == (
        f"train_dataloader.dataset.data_prefix.seg is 'labels/', and {tmp_path / 'labels'} does "
        'not exist; correct it or data_root in the config or with --cfg-options.'
    )


def test_a_path_is_relative_to_where_the_run_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, data_root='')
    monkeypatch.chdir(tmp_path)
    assert _check(config) == []
    monkeypatch.chdir('/')
    with pytest.raises(LaunchError, match='and /a.json does not exist'):
        _check(config)


def test_datasets_inside_of_others(tmp_path: Path) -> None:
    good = _config(tmp_path)['train_dataloader']['dataset']
    two = dict(type='ConcatDataset', datasets=[good, {**good, 'ann_file': 'b.json'}])
    loader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=two))
    with pytest.raises(LaunchError, match=r'^train_dataloader.dataset.dataset.datasets\[1\].ann_f'):
        _check(dict(train_dataloader=loader))


@pytest.mark.parametrize(
    'changes',
    [
        dict(type='OwnPathsDataset'),
        dict(type='NobodyKnowsIt'),
        dict(backend_args=dict(backend='petrel')),
        dict(data_root='s3://bucket'),
        dict(data_root='cluster:s3://bucket'),
    ],
)
def test_what_cannot_be_looked_up_is_left_to_the_dataset(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert _check(_config(tmp_path, ann_file='b.json', **changes)) == []


def test_the_file_of_a_metric(tmp_path: Path) -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    missing = str(tmp_path / 'b.json')
    metric = dict(type='CocoMetric', ann_file=missing)
    config = dict(default_scope='mmdet', val_evaluator=metric, test_evaluator=[metric])
    with pytest.raises(
        LaunchError, match='^val_evaluator.ann_file is .*b.json does not exist; correct it in the'
    ):
        _check(config)
    with pytest.raises(LaunchError, match=r'^test_evaluator\[0\].ann_file is '):
        check_test_data(Launch(Config(config)))
    (tmp_path / 'b.json').write_text('{}')
    assert _check(config) == check_test_data(Launch(Config(config))) == []
    assert _check(dict(val_evaluator=dict(type='ForeignMetric', ann_file='none.json'))) == []


@pytest.mark.parametrize('default_scope', ['mmdet', 'mmseg'])
def test_datasets_of_both_packages_are_looked_up(
    default_scope: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    kind = dict(mmdet='CocoDataset', mmseg='CityscapesDataset')[default_scope]
    config = _config(tmp_path, type=kind, ann_file='b.json')
    with pytest.raises(LaunchError, match='b.json does not exist'):
        _check(dict(config, default_scope=default_scope))
    assert capsys.readouterr().out == ''
