"""What tools/test.py changes in a config: windows, augmentation at test time, outputs."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.testing import (
    check_out,
    dump_predictions,
    show_predictions,
    use_test_time_augmentation,
)


def _config(scope: str = 'mmdet', **overrides: Any) -> Config:
    entries: dict[str, Any] = dict(
        default_scope=scope,
        default_hooks=dict(visualization=dict(type='VisualizationHook', interval=50)),
        visualizer=dict(type='LocalVisualizer', vis_backends=[]),
        model=dict(type='Detector', backbone=dict(depth=18)),
        test_dataloader=dict(batch_size=1, dataset=dict(type='Data', pipeline=['plain'])),
        test_evaluator=dict(type='IoUMetric'),
        tta_model=dict(type='Merging', nms=0.5),
        tta_pipeline=['flipped'],
    )
    return Config({**entries, **overrides})


class TestShow:
    def test_nothing_is_asked_and_nothing_changes(self) -> None:
        cfg = _config()
        show_predictions(cfg, show=False, show_dir=None, wait_time=2)
        assert cfg.to_dict() == _config().to_dict()
        show_predictions(Config(), show=False, show_dir=None, wait_time=2)

    def test_a_window(self) -> None:
        cfg = _config()
        show_predictions(cfg, show=True, show_dir=None, wait_time=0.5)
        assert cfg.default_hooks.visualization == dict(
            type='VisualizationHook', interval=50, draw=True, show=True, wait_time=0.5
        )
        assert cfg.visualizer == _config().visualizer

    @pytest.mark.parametrize('show', [False, True])
    def test_a_directory_of_a_detector_is_the_hooks(self, show: bool) -> None:
        cfg = _config()
        show_predictions(cfg, show, show_dir='out', wait_time=1)
        hook = cfg.default_hooks.visualization
        assert (hook.draw, hook.test_out_dir, hook.get('show', False)) == (True, 'out', show)
        assert 'save_dir' not in cfg.visualizer

    def test_a_directory_of_a_segmenter_is_the_visualizers(self) -> None:
        cfg = _config('mmseg')
        show_predictions(cfg, show=False, show_dir='out', wait_time=1)
        assert cfg.visualizer.save_dir == 'out'
        assert cfg.default_hooks.visualization == dict(
            type='VisualizationHook', interval=50, draw=True
        )

    @pytest.mark.parametrize('hooks', [None, dict(), dict(visualization=None)])
    @pytest.mark.parametrize(('show', 'folder'), [(True, None), (False, 'out')])
    def test_without_the_hook(self, hooks: Any, show: bool, folder: str | None) -> None:
        with pytest.raises(LaunchError, match='need default_hooks.visualization in the config'):
            show_predictions(_config(default_hooks=hooks), show, folder, wait_time=2)


class TestAugmentation:
    def test_the_model_is_wrapped_and_reads_the_other_pipeline(self) -> None:
        cfg = _config()
        use_test_time_augmentation(cfg)
        assert cfg.model == dict(
            type='Merging', nms=0.5, module=dict(type='Detector', backbone=dict(depth=18))
        )
        assert cfg.test_dataloader == dict(
            batch_size=1, dataset=dict(type='Data', pipeline=['flipped'])
        )
        assert cfg.tta_model == dict(type='Merging', nms=0.5)

    def test_the_pipeline_of_a_wrapped_dataset_is_the_inner_ones(self) -> None:
        inner = dict(type='Data', pipeline=['plain'])
        wrapped = dict(type='Repeat', dataset=dict(type='Subset', dataset=inner))
        cfg = _config(test_dataloader=dict(dataset=wrapped))
        use_test_time_augmentation(cfg)
        outer = cfg.test_dataloader.dataset
        assert outer.dataset.dataset.pipeline == ['flipped']
        assert 'pipeline' not in outer and 'pipeline' not in outer.dataset

    @pytest.mark.parametrize('key', ['tta_model', 'tta_pipeline'])
    def test_a_config_without_it(self, key: str) -> None:
        cfg = _config(**{key: None})
        with pytest.raises(LaunchError, match=f'--tta needs {key} in the config'):
            use_test_time_augmentation(cfg)
        assert cfg.model == _config().model


class TestOut:
    @pytest.mark.parametrize('out', [None, 'a.pkl', 'a.pickle'])
    @pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
    def test_a_pickle_is_left_to_the_metric(self, scope: str, out: str | None) -> None:
        cfg = _config(scope)
        check_out(cfg, out)
        assert cfg.test_evaluator == dict(type='IoUMetric')

    def test_maps_of_a_segmenter_go_to_a_folder(self) -> None:
        cfg = _config('mmseg')
        check_out(cfg, 'maps')
        assert cfg.test_evaluator == dict(type='IoUMetric', output_dir='maps', keep_results=True)

    @pytest.mark.parametrize('out', ['maps', 'a.json', 'pkl'])
    def test_a_detector_has_no_maps(self, out: str) -> None:
        cfg = _config()
        with pytest.raises(LaunchError, match=f"'{out}'; allowed is a file ending in .pkl or .pic"):
            check_out(cfg, out)
        assert cfg.test_evaluator == dict(type='IoUMetric')

    @pytest.mark.parametrize('out', [None, 'maps'])
    def test_no_metric_is_added_without_a_pickle(self, out: str | None) -> None:
        runner = SimpleNamespace(test_evaluator=SimpleNamespace(metrics=[]))
        dump_predictions(runner, _config('mmseg'), out)
        assert runner.test_evaluator.metrics == []

    @pytest.mark.parametrize(
        ('scope', 'metric'), [('mmseg', 'DumpResults'), ('mmdet', 'DumpDetResults')]
    )
    def test_all_predictions_are_written(self, tmp_path: Path, scope: str, metric: str) -> None:
        if scope == 'mmdet':
            pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
        runner = SimpleNamespace(test_evaluator=SimpleNamespace(metrics=['own']))
        dump_predictions(runner, _config(scope), str(tmp_path / 'a.pkl'))
        own, added = runner.test_evaluator.metrics
        assert own == 'own' and type(added).__name__ == metric
        added.process(None, [dict(pred_instances=dict(scores=[0.5]))])
        added.evaluate(1)
        written = pickle.loads((tmp_path / 'a.pkl').read_bytes())
        assert written == [dict(pred_instances=dict(scores=[0.5]))]
