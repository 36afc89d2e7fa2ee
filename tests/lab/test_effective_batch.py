"""Each step of the effective-batch experiment changes the shapes that it should and no others."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope
from networks import boxes, images

import lab.heads  # noqa: F401  registers the heads and the neck
from agvm_mm.statistics import partition_parameters

FOLDER = Path(__file__).resolve().parents[2] / 'lab' / 'configs'
RETINA = (
    'retinanet_r18_fpn_scenes',
    'retinanet_r18_fpn-separate-heads_scenes',
    'retinanet_r18_separate-heads-no-fpn_scenes',
    'retinanet_r18_separate-heads-no-fpn-drop75_scenes',
)
FASTER = (
    'faster-rcnn_r18_fpn_scenes',
    'faster-rcnn_r18_fpn-few-proposals_scenes',
    'faster-rcnn_r18_few-proposals-no-fpn_scenes',
)


def _config(name: str) -> Any:
    return Config.fromfile(FOLDER / f'{name}.py')


def _build(model: Any, seed: int = 0) -> Any:
    import mmdet.models  # noqa: F401  registers the detectors

    MMLogger.get_current_instance().setLevel(logging.ERROR)
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = MODELS.build(model)
    built.init_weights()
    return built.train()


@pytest.fixture(scope='module')
def models() -> dict[str, Any]:
    return {name: _build(_config(name).model) for name in RETINA + FASTER}


def _shapes(module: torch.nn.Module) -> Counter:
    return Counter(tuple(p.shape) for p in module.parameters())


def _batch(size: int = 96) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return dict(
        inputs=images(rng, 2, size), data_samples=[boxes(rng, 3, size, 6) for _ in range(2)]
    )


def _loss(model: Any, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    data = model.data_preprocessor(_batch(), True)
    return model.parse_losses(model(**data, mode='loss'))[0]


def test_separate_heads_are_the_shared_one_five_times(models):
    shared, separate = models[RETINA[0]], models[RETINA[1]]
    once = _shapes(shared.bbox_head)
    assert _shapes(separate.bbox_head) == Counter({k: 5 * n for k, n in once.items()})
    for part in ('backbone', 'neck'):
        named = [
            {name: p.shape for name, p in getattr(m, part).named_parameters()}
            for m in (shared, separate)
        ]
        assert named[0] == named[1]


def test_with_one_level_a_separate_head_is_the_shared_head():
    """Same shapes and, with the same weights, the same losses."""
    separate = _build(_config(RETINA[2]).model)
    config = _config(RETINA[2]).model
    config.bbox_head.type = 'RetinaHead'
    shared = _build(config, seed=1)
    assert _shapes(separate) == _shapes(shared)
    state = {
        name.replace('bbox_head.levels.0.', 'bbox_head.'): value
        for name, value in separate.state_dict().items()
    }
    shared.load_state_dict(state)
    assert torch.equal(_loss(shared), _loss(separate))


def test_without_fpn_only_the_neck_shrinks(models):
    full, single = models[RETINA[1]], models[RETINA[2]]
    assert _shapes(full.backbone) == _shapes(single.backbone)
    # Lateral 1 x 1 and output 3 x 3 convolution of the last map, as the FPN has them.
    fpn = full.neck
    assert _shapes(single.neck) == _shapes(fpn.lateral_convs[-1]) + _shapes(fpn.fpn_convs[2])
    (level,) = single.bbox_head.levels
    assert _shapes(level) == _shapes(full.bbox_head.levels[0])


def test_dropping_pixels_changes_no_shape(models):
    assert _shapes(models[RETINA[3]]) == _shapes(models[RETINA[2]])


def test_few_proposals_change_no_shape_and_no_fpn_those_of_neck_and_rpn(models):
    full, few, single = (models[name] for name in FASTER)
    assert _shapes(full) == _shapes(few)
    sizes = [
        dict(zip(p.names, p.sizes())) for p in (partition_parameters(m) for m in (few, single))
    ]
    changed = {name for name in sizes[0] if sizes[0][name] != sizes[1][name]}
    assert changed == {'neck', 'rpn_head'}
    assert few.rpn_head.rpn_conv.weight.shape == single.rpn_head.rpn_conv.weight.shape
    assert few.train_cfg.rcnn.sampler.num == 4 and full.train_cfg.rcnn.sampler.num == 64


@pytest.mark.parametrize('name', RETINA + FASTER)
def test_every_parameter_gets_a_finite_gradient(models, name):
    model = copy.deepcopy(models[name])
    _loss(model).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert bool(torch.isfinite(parameter.grad).all()), key


def test_every_class_starts_at_one_percent(models):
    for level in models[RETINA[1]].bbox_head.levels:
        assert level['retina_cls'].bias.sigmoid().tolist() == pytest.approx([0.01] * 54)
        assert float(level['retina_cls'].weight.std()) == pytest.approx(0.01, rel=0.05)


def test_the_share_of_dropped_pixels_is_the_one_asked_for(models):
    head = models[RETINA[3]].bbox_head
    torch.manual_seed(0)
    weights = head.draw(torch.zeros(16, 9 * 6, 50, 50))
    assert weights.shape == (16, 50 * 50 * 9)
    assert set(weights.unique().tolist()) == {0.0, 4.0}
    by_pixel = weights.view(16, 2500, 9)
    assert bool((by_pixel == by_pixel[:, :, :1]).all())  # all anchors of a pixel together
    kept = by_pixel[:, :, 0].gt(0).double()
    # 40000 pixels: one standard deviation is sqrt(0.25 * 0.75 / 40000) = 0.0022.
    assert float(kept.mean()) == pytest.approx(0.25, abs=4 * 0.0022)


def test_the_expected_loss_is_that_of_all_pixels(models):
    thinned = copy.deepcopy(models[RETINA[3]])
    thinned.eval()  # the running statistics of batch normalisation stand still
    draws = []
    for seed in range(200):
        with torch.no_grad():
            draws.append(_loss(thinned, seed))
    thinned.bbox_head.drop = 0.0
    with torch.no_grad():
        whole = _loss(thinned)
    found = torch.stack(draws).double()
    error = float(found.std()) / len(draws) ** 0.5
    assert float(found.std()) > 0 and abs(float(found.mean() - whole)) < 4 * error


@pytest.mark.parametrize('drop', [-0.1, 1.0])
def test_an_impossible_share_is_refused(drop):
    config = _config(RETINA[3]).model
    config.bbox_head.drop = drop
    with pytest.raises(ValueError, match=f'bbox_head.drop is {drop}; allowed'):
        _build(config)


def test_an_impossible_level_is_refused():
    config = _config(RETINA[2]).model
    config.neck.level = 4
    with pytest.raises(ValueError, match='neck.level is 4; allowed is an index of the 4 maps'):
        _build(config)
