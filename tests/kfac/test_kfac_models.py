"""Detectors and segmenters with attention and transposed convolutions, trained with K-FAC."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

from attention_models import MODELS
from mmengine.model import MMDistributedDataParallel
from ranks import run_ranks

from agvm_mm import AGVMOptimWrapper
from agvm_mm.parts import KFACPart


def train(rank: int, ranks: int, kind: str, updates: int = 2, **changes: Any) -> dict[str, Any]:
    """Two images a rank and update."""
    torch.manual_seed(0)
    build, batch, _ = MODELS[kind]
    network = build()
    model: Any = network
    if ranks > 1:
        model = MMDistributedDataParallel(network, find_unused_parameters=True)
    kfac = dict(damping=0.05, statistics_interval=1, inverse_interval=1, kl_clip=1e-3)
    wrapper = AGVMOptimWrapper(
        torch.optim.SGD(network.parameters(), lr=0.01), agvm=None, kfac={**kfac, **changes}
    )
    wrapper.initialize_count_status(model, 0, updates)
    losses = []
    for update in range(updates):
        torch.manual_seed(100 * update + rank)
        losses.append(float(model.train_step(batch((update, rank)), wrapper)['loss'].detach()))
    part = wrapper.part(KFACPart).preconditioner
    return dict(
        losses=losses,
        weights=torch.cat([p.detach().reshape(-1) for p in network.parameters()]),
        left=set(part.left),
        unsolved=[layer.name for layer in part.layers if not layer.solved],
        kinds={layer.helper.kind for layer in part.layers},
    )


SLOW = ('segmenter', 'segformer')


@pytest.mark.parametrize(
    'kind', [pytest.param(k, marks=[pytest.mark.slow] * (k in SLOW)) for k in MODELS]
)
def test_every_layer_is_preconditioned(kind: str) -> None:
    found = train(0, 1, kind)
    assert torch.tensor(found['losses']).isfinite().all()
    assert found['left'] == MODELS[kind][2]
    assert found['unsolved'] == []
    new = 'ConvTranspose2d' if kind == 'mask-rcnn' else 'projections of MultiheadAttention'
    assert new in found['kinds']


@pytest.mark.slow
def test_two_ranks() -> None:
    first, second = run_ranks(train, 2, 2, 'detr')
    assert torch.equal(first['weights'], second['weights'])
    assert first['losses'] != second['losses'] and first['unsolved'] == []
