"""The model and the optimizer of every kind of recipe build."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from recipes import AGVM_PATHS, PATHS, load, parse, plain, resolved

from agvm_mm.compat import has_compiled_ops
from agvm_mm.statistics.partition import partition_parameters

pytestmark = [pytest.mark.configs, pytest.mark.slow]

MODULES = {
    'faster-rcnn': ['backbone', 'neck', 'rpn_head', 'roi_head.bbox_head'],
    'mask-rcnn': ['backbone', 'neck', 'rpn_head', 'roi_head.bbox_head', 'roi_head.mask_head'],
    'cascade-mask-rcnn': [
        'backbone',
        'neck',
        'rpn_head',
        'roi_head.bbox_head',
        'roi_head.mask_head',
    ],
    'retinanet': ['backbone', 'neck', 'bbox_head'],
    'panoptic-fpn': [
        'backbone',
        'neck',
        'rpn_head',
        'roi_head.bbox_head',
        'roi_head.mask_head',
        'semantic_head',
    ],
    'fpn': ['backbone', 'neck', 'decode_head'],
    'upernet': ['backbone', 'decode_head', 'auxiliary_head'],
    'rtmdet': ['backbone', 'neck', 'bbox_head'],
    'dino': ['backbone', 'neck', 'encoder', 'decoder', 'bbox_head'],
    'mask2former': ['backbone', 'HEAD', 'HEAD.pixel_decoder', 'HEAD.transformer_decoder'],
    'segformer': ['backbone', 'decode_head'],
}
# One recipe for each different model.
MODEL_PATHS = list(
    {
        (
            parse(path).algorithm,
            parse(path).backbone,
            parse(path).dataset,
            parse(path).method.endswith('-released'),
        ): path
        for path in AGVM_PATHS
    }.values()
)


def without_weights(cfg: Any) -> Any:
    """A copy of a model's config that asks for no download."""
    if isinstance(cfg, dict):
        return {
            key: without_weights(value)
            for key, value in cfg.items()
            if key not in ('pretrained', 'init_cfg')
        }
    return [without_weights(value) for value in cfg] if isinstance(cfg, list) else cfg


def model_of(path: Path) -> Any:
    """Without the preprocessor of a curriculum, with which tests/curriculum trains."""
    model = without_weights(plain(load(path))['model'])
    kind = model['data_preprocessor']['type'].lower()
    model['data_preprocessor']['type'] = kind.replace('lowfreq', '')
    return model


def test_no_model_is_left_out() -> None:
    models = [model_of(path) for path in MODEL_PATHS]
    for path in PATHS:
        assert model_of(path) in models, path.name


@pytest.mark.parametrize('path', MODEL_PATHS, ids=lambda path: path.stem)
def test_model_and_optimizer_build(path: Path) -> None:
    recipe, cfg = parse(path), load(path)
    if recipe.dataset == 'coco' and not has_compiled_ops():
        pytest.skip("MMDetection needs mmcv's compiled operators")
    pytest.importorskip('mmdet' if recipe.dataset == 'coco' else 'mmseg')
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import MODELS, DefaultScope

    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(ConfigDict(without_weights(plain(cfg)['model'])))
    names = partition_parameters(model).names
    head = 'panoptic_head' if recipe.dataset == 'coco' else 'decode_head'  # of Mask2Former
    assert sorted(names) == sorted(n.replace('HEAD', head) for n in MODULES[recipe.algorithm])
    wrapper_cfg = plain(resolved(path))['optim_wrapper']
    if 'Amp' in wrapper_cfg['type']:  # mixed precision needs a GPU
        wrapper_cfg = {**wrapper_cfg, 'type': wrapper_cfg['type'].replace('Amp', '')}
        wrapper_cfg.pop('loss_scale')
    wrapper = build_optim_wrapper(model, wrapper_cfg)
    held = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    assert held >= {id(p) for p in model.parameters() if p.requires_grad}
    if 'swin' in recipe.backbone:
        check_swin_groups(model, wrapper.optimizer, recipe.backbone == 'swin-t')


def check_swin_groups(model: torch.nn.Module, optimizer: Any, layer_decay: bool) -> None:
    """No decay on norms and position biases; with layer decay 0.8 per stage of the backbone."""
    group_of = {id(p): group for group in optimizer.param_groups for p in group['params']}
    for name, parameter in model.named_parameters():
        group = group_of[id(parameter)]
        kept = 'norm' in name or 'relative_position_bias_table' in name
        assert (group['weight_decay'] == 0) == kept, name
        if layer_decay:
            stage = re.match(r'backbone\.(?:stages\.|norm)(\d)', name)
            steps = 4 - int(stage[1]) if stage else 5 * name.startswith('backbone')
            assert group['lr'] == pytest.approx(optimizer.defaults['lr'] * 0.8**steps), name
