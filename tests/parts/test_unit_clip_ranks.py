"""Adaptive clipping on two ranks is that of one process, with a real detector."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from networks import detection_batch, tiny_retinanet
from ranks import run_ranks

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

tiny_retinanet()  # imported and built before ranks are forked

CLIP = dict(type='agc', clip_factor=0.01, exclude='cls')


def _clipped(model: Any, counts: int = 1, **more: Any) -> Any:
    from mmengine.optim import build_optim_wrapper

    import agvm_mm  # noqa: F401

    config = dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type='SGD', lr=0.02, momentum=0.9),
        clip_grad=CLIP,
        agvm=None,
        accumulative_counts=counts,
        **more,
    )
    wrapper = build_optim_wrapper(model, config)
    wrapper.initialize_count_status(model, 0, 3 * counts)
    return wrapper


def _summary(model: Any, wrapper: Any) -> dict[str, Any]:
    scalars = wrapper.message_hub.log_scalars
    return dict(
        weights=torch.cat([p.detach().reshape(-1) for p in model.parameters()]),
        fractions={k: v.data[0][-3:].tolist() for k, v in scalars.items() if 'agc' in k},
    )


def _on_rank(rank: int) -> dict[str, Any]:
    from mmengine.model import MMDistributedDataParallel

    model = MMDistributedDataParallel(tiny_retinanet(), broadcast_buffers=False)
    wrapper = _clipped(model)
    for step in range(3):
        model.train_step(detection_batch((rank, step)), wrapper)
    return _summary(model, wrapper)


def test_two_ranks_equal_one_process_bit_for_bit() -> None:
    """Two ranks against two accumulated micro-batches: halves of two are exact in any order."""
    ranks = run_ranks(_on_rank, 2)
    model = tiny_retinanet()
    wrapper = _clipped(model, counts=2)
    for step in range(3):
        for rank in range(2):
            model.train_step(detection_batch((rank, step)), wrapper)
    alone = _summary(model, wrapper)
    assert torch.equal(ranks[0]['weights'], ranks[1]['weights'])
    assert torch.equal(ranks[0]['weights'], alone['weights'])
    assert ranks[0]['fractions'] == ranks[1]['fractions'] == alone['fractions']
    assert set(alone['fractions']) == {
        f'train/agc/clipped/{name}' for name in ('backbone', 'neck', 'bbox_head')
    }
    assert 0 < alone['fractions']['train/agc/clipped/backbone'][0] < 1


def test_classifier_of_the_detector_is_left_alone() -> None:
    from agvm_mm.optimizers.prediction_layers import prediction_layers

    model = tiny_retinanet()
    assert prediction_layers(model, regression=False) == ['bbox_head.retina_cls']
    both = ['bbox_head.retina_cls', 'bbox_head.retina_reg']
    assert prediction_layers(model, regression=True) == both
