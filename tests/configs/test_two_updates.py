"""Every model of the recipes trains two updates on two processes and is evaluated, at full width.

The recipes run through the code of tools/train.py on sixteen generated images in COCO's and
ADE20K's layout, twelve to train on and four to evaluate. Reduced are the images' size, the number
of regions, the batch and the lengths; pretrained weights are left out. Swin-L too keeps its depth
and width, which takes about 12 GB, but has one micro-batch where the others have
two, and float32 in the place of mixed precision: mmcv's NMS knows no half precision on a CPU. What
the recipes of one model differ in, the optimizer and its schedule, is in
test_optimizer_recipes.py.
"""

from __future__ import annotations

import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from ranks import run_ranks
from recipes import OTHERS, ROOT, plain
from test_models import MODEL_PATHS, without_weights

from agvm_mm.compat import has_compiled_ops
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training
from agvm_mm.statistics.partition import partition_parameters
from agvm_runs.reproduce.runs import find_runs

pytestmark = [
    pytest.mark.configs,
    pytest.mark.slow,
    pytest.mark.skipif(not has_compiled_ops(), reason="needs mmcv's compiled operators"),
]

RANKS, UPDATES = 2, 2
CROP = (64, 64)
# Of the small recipes those with AGVM; of the miniature ones, one for each model and dataset.
SMALL_PATHS = [
    path
    for name in OTHERS
    for path in sorted(ROOT.glob(f'configs/[!_]*/*_{name}.py'))
    if '_agvm-' in path.stem and (path.parent.name != 'miniature' or '_agvm-sgd_2xb8-' in path.stem)
]
TRAINED = MODEL_PATHS + SMALL_PATHS
NO_PANOPTICAPI = find_spec('panopticapi') is None


@pytest.fixture(scope='module')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from generated_data import write_all

    root = tmp_path_factory.mktemp('generated')
    write_all(root)
    return root


@pytest.fixture(autouse=True)
def _quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """No compilers are asked for their versions, which takes seconds."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.delenv('AGVM_MM_DATA', raising=False)


def shrink(node: Any) -> None:
    """Small images in every pipeline below ``node``; few regions, and every detection counts."""
    if isinstance(node, list):
        for child in node:
            shrink(child)
    if not isinstance(node, dict):
        return
    kind = node.get('type')
    if kind in ('Resize', 'RandomResize') and 'scale' in node:
        node['scale'] = (128, 96)
    if kind == 'RandomChoiceResize':
        node['scales'] = [96] if node.get('resize_type') == 'ResizeShortestEdge' else [(128, 96)]
    if kind in ('CachedMosaic', 'CachedMixUp'):
        node['img_scale'] = (128, 96)
    if kind in ('Pad', 'BatchFixedSizePad'):
        node['size'] = (128, 128)
    if kind == 'RandomCrop':
        node['crop_size'] = CROP
    if kind == 'SegDataPreProcessor':
        node['size'] = CROP
    if 'num_queries' in node:
        node['num_queries'] = 32
    if 'max_per_img' in node:
        node['max_per_img'] = 32
    if kind == 'RandomSampler':
        node['num'] = 32
    if 'score_thr' in node:
        node['score_thr'] = 0.0
    for child in node.values():
        shrink(child)


def count_micro_batches(path: Path) -> int:
    return 1 if 'swin-l' in path.stem else 2


def reduce_config(cfg: Any, micro_batches: int) -> None:
    """Small images and lengths, few micro-batches, no pretrained weights, no checkpoint."""
    # UPerNet's 1 x 1 pooling needs two for its BN
    images = 2 if cfg.default_scope == 'mmseg' and 'max_iters' in cfg.train_cfg else 1
    cfg.model = ConfigDict(without_weights(plain(cfg)['model']))
    cfg.load_from = None
    shrink(cfg._cfg_dict)
    cfg.total_batch_size = RANKS * images * micro_batches
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=images, num_workers=0, persistent_workers=False)
    if 'max_iters' in cfg.train_cfg:
        cfg.train_cfg.update(max_iters=UPDATES, val_interval=UPDATES)
    else:
        cfg.train_dataloader.dataset.indices = UPDATES * cfg.total_batch_size
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.optim_wrapper.agvm = {**cfg.optim_wrapper.get('agvm', {}), 'begin': 0, 'interval': 1}
    if cfg.optim_wrapper.type == 'AGVMAmpOptimWrapper':  # mmcv's NMS has no half precision here
        cfg.optim_wrapper.type = 'AGVMOptimWrapper'
        cfg.optim_wrapper.pop('loss_scale')
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger.interval = 1


def without_panopticapi(cfg: Any) -> None:
    """Instances and semantic maps from files of their own; our metric."""
    for split, loader in (('train', cfg.train_dataloader), ('val', cfg.val_dataloader)):
        dataset = loader.dataset
        dataset.update(type='CocoDataset', ann_file=f'annotations/instances_{split}2017.json')
        dataset.data_prefix.seg = f'annotations/semantic_{split}2017/'
        for step in dataset.pipeline:
            if step.type == 'LoadPanopticAnnotations':
                step.update(type='LoadAnnotations', with_bbox=True, with_mask=True, with_seg=True)
    cfg.val_evaluator.type = 'PanopticQualityMetric'
    cfg.val_evaluator.pop('backend_args', None)


def train(rank: int, path: Path, root: Path) -> dict[str, Any]:
    """One rank of the run: the losses, what the modules' weights add up to, the updates."""
    os.chdir(root)
    cfg = load_config(str(path), launcher='pytorch', work_dir=str(root / path.stem))
    reduce_config(cfg, count_micro_batches(path))
    if NO_PANOPTICAPI and cfg.val_evaluator.type == 'CocoPanopticMetric':
        without_panopticapi(cfg)
    cfg.experiment_name = path.stem
    runner = build_runner(cfg, prepare_training(cfg, TrainOptions(seed=0)))
    first_weights = FirstWeights()
    runner.register_hook(first_weights)
    runner.train()
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    return dict(
        losses=[float(value) for value in losses],
        updates=runner.optim_wrapper.updates,
        estimates=[name for name in runner.message_hub.log_scalars if 'agvm/phi/' in name],
        before=first_weights.sums,
        after=weight_sums(runner.model.module),
    )


class FirstWeights(Hook):
    """The modules' weights after their initialisation, which ``Runner.train`` does."""

    def before_train(self, runner: Any) -> None:
        self.sums = weight_sums(runner.model.module)


def weight_sums(model: Any) -> dict[str, float]:
    """Sum of the absolute trainable weights of every module."""
    partition = partition_parameters(model)
    sums = torch.stack([p.detach().double().abs().sum() for p in partition.parameters])
    return dict(zip(partition.names, partition.sum(sums).tolist()))


def score_key(path: Path) -> str:
    semantic = path.stem.endswith(('_ade20k-512x512', '_scenes-semantic'))
    if semantic or path.stem.startswith(('fpn_', 'upernet_', 'segformer_')):
        return 'mIoU'
    return 'coco_panoptic/PQ' if 'panoptic' in path.stem else 'coco/bbox_mAP'


@pytest.mark.parametrize('path', TRAINED, ids=lambda path: path.stem)
def test_two_updates_and_an_evaluation(path: Path, data_root: Path) -> None:
    check_training(path, data_root)


def test_the_example_of_the_readme(data_root: Path) -> None:
    example = (ROOT / 'README.md').read_text().split('```python\n')[1].split('```')[0]
    path = data_root / 'faster-rcnn_readme.py'
    path.write_text(example)
    check_training(path, data_root)


def check_training(path: Path, data_root: Path) -> None:
    """Every module of the model moves, the same way on both ranks, and the result has a score."""
    ranks = run_ranks(train, RANKS, path, data_root, timeout=280)
    for result in ranks:
        assert len(result['losses']) == UPDATES * count_micro_batches(path)
        assert all(map(math.isfinite, result['losses'])), result['losses']
        assert result['updates'] == UPDATES
        modules = result['before']
        assert {name.split('/')[-1] for name in result['estimates']} == set(modules)
        assert all(result['after'][name] != modules[name] for name in modules), result
    assert ranks[0]['after'] == ranks[1]['after']  # the ranks stay one model
    (run,) = find_runs(data_root, path.stem, score_key(path))
    assert run.finished
    assert run.value is not None and math.isfinite(run.value)
