"""Real detectors, with everything about them that breaks other K-FAC libraries."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

from kfac_detectors import DETECTORS, train
from kfac_nets import distance
from ranks import run_ranks

for _build in DETECTORS.values():
    _build()  # imported and built before ranks are forked

every_detector = pytest.mark.parametrize('kind', sorted(DETECTORS))


@every_detector
@pytest.mark.slow
def test_fifty_updates_on_two_ranks(kind: str) -> None:
    """BN without synchronisation, in-place ReLU, a frozen stage, updates without an object."""
    first, second = run_ranks(train, 2, 2, kind, 50, (3, 4, 20))
    assert torch.tensor(first['losses'] + second['losses']).isfinite().all()
    assert torch.equal(first['weights'], second['weights'])
    assert first['skipped'] == 0
    assert all(first['solved'].values())
    assert sum(first['losses'][-3:]) < sum(first['losses'][:3])


@every_detector
def test_layers(kind: str) -> None:
    """Every trainable layer of the detector is preconditioned, nothing of the frozen stage.

    A residual branch starts at a scale of 0, so its inner layers have a gradient from the second
    update on.
    """
    first = train(0, 1, kind, 1)['solved']
    assert not first['backbone.layer2.0.conv1'] and first['backbone.layer2.0.bn2']
    found = train(0, 1, kind, 2)
    assert found['left'] == {}
    assert all(found['solved'].values())
    assert not [
        name for name in found['solved'] if name.startswith(('backbone.conv1', 'backbone.layer1'))
    ]
    assert 'backbone.layer2.0.bn1' in found['solved']
    head = 'roi_head.bbox_head.fc_cls' if kind == 'faster-rcnn' else 'bbox_head.retina_cls'
    assert head in found['solved']


def test_an_update_without_objects_leaves_unused_layers_alone() -> None:
    found = train(0, 1, 'faster-rcnn', 1, empty=(0,))
    unused = {name for name, done in found['solved'].items() if not done}
    assert 'roi_head.bbox_head.fc_reg' in unused
    assert 'rpn_head.rpn_conv' not in unused
    assert torch.tensor(found['losses']).isfinite().all()
    later = train(0, 1, 'faster-rcnn', 2, empty=(0,))
    assert all(done for name, done in later['solved'].items() if 'backbone' not in name)


@every_detector
def test_activation_checkpointing_measures_the_same(kind: str) -> None:
    """Layers of a checkpointed stage are called twice and count once.

    Losses and factors are those of the plain run; its batch statistics are too, as norm_eval keeps
    the recomputation from counting in the running averages.
    """
    plain = train(0, 1, kind, 1, backbone=dict(norm_eval=True))
    again = train(0, 1, kind, 1, backbone=dict(norm_eval=True, with_cp=True))
    assert plain['losses'] == again['losses'] and plain['solved'] == again['solved']
    measured = {name: found for name, found in plain['factors'].items() if found}
    assert 'backbone.layer2.0.bn2' in measured
    for name, factors in measured.items():
        for factor, other in zip(factors, again['factors'][name]):
            assert distance(other, factor) < 1e-6, name


def test_k_fac_and_agvm() -> None:
    agvm = dict(interval=1, momentum=0.5)
    first, second = run_ranks(_both, 2, agvm)
    assert torch.equal(first['weights'], second['weights'])
    alone = run_ranks(_both, 2, None)[0]
    assert distance(first['weights'], alone['weights']) > 1e-6
    assert first['losses'][0] == alone['losses'][0]


def _both(rank: int, agvm: dict[str, Any] | None) -> dict[str, Any]:
    return train(rank, 2, 'retinanet', 3, agvm=agvm)
