"""Updates of a small detector by MMEngine's runner.

Pictures and draws do not depend on how they are divided over ranks and micro-batches.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

import agvm_mm  # noqa: F401  registers the wrappers
from agvm_mm.hooks import ExactAccumulationHook
from agvm_mm.parts import AGVMPart
from agvm_mm.wrappers.accumulate import place

from .small import InFloat64, build_small, picture

OBJECTS = (1, 30, 2, 12, 1, 20, 3, 5)
"""Objects in the pictures of an update."""


Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Share:
    """What one rank trains.

    Args:
        rank: of ``ranks``.
        ranks: processes.
        counts: micro-batches of an update on each.
        exact: with ExactAccumulationHook.
        updates: in all.
    """

    rank: int = 0
    ranks: int = 1
    counts: int = 8
    exact: bool = False
    updates: int = 1


class FixedDraws(Hook):
    """Seeds every forward pass by its picture, and keeps batch norm as in evaluation.

    Args:
        weights: to begin with.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def before_train(self, runner: Runner) -> None:
        """Load the weights and watch the data preprocessor."""
        network: Any = getattr(runner.model, 'module', runner.model)
        network.load_state_dict(self._weights)
        network.data_preprocessor.register_forward_pre_hook(self._seed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Stop batch norm from using the picture's own statistics."""
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    def _seed(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        torch.manual_seed(args[0]['data_samples'][0].img_id)


class Start(Hook):
    """Keeps the weights at the beginning of the last update."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Before its first micro-batch."""
        if place(runner.optim_wrapper)[0] == 0:
            self.weights = _flat(runner.model)


_RUNS = itertools.count()


def trained(name: str, updates: int = 40) -> Weights:
    """Weights after some updates from the initial ones, where a detector finds something."""
    model: Any = build_small(name)
    model.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for update in range(updates):
        objects = [OBJECTS[(2 * update + i) % len(OBJECTS)] for i in range(2)]
        pictures = [
            picture(1000 + 2 * update + i, count, name == 'Mask2Former')
            for i, count in enumerate(objects)
        ]
        data = model.data_preprocessor(pseudo_collate(pictures), True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    return dict(model.state_dict())


def train(
    name: str, weights: Weights, share: Share, hooks: Sequence[Hook] = ()
) -> tuple[Tensor, dict[str, Any]]:
    """Train a small detector in float64 at a rate of 1 that AGVM measures.

    Args:
        name: a key of :data:`lab.architectures.small.CONFIGS`.
        weights: to begin with.
        share: of this rank; picture i of an update goes to rank i modulo the ranks.
        hooks: more of them.

    Returns:
        The last update, flat, and AGVM's state.
    """
    total = share.ranks * share.counts * share.updates
    with InFloat64(), tempfile.TemporaryDirectory() as folder:
        pictures = [
            picture(i, OBJECTS[i % len(OBJECTS)], masks=name == 'Mask2Former')
            for i in range(share.rank, total, share.ranks)
        ]
        runner = Runner(
            build_small(name),
            folder,
            train_dataloader=DataLoader(pictures, collate_fn=pseudo_collate),  # type: ignore[arg-type]
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(
                type='AGVMOptimWrapper',
                optimizer=dict(type='SGD', lr=1.0),
                accumulative_counts=share.counts,
                agvm=dict(interval=1, momentum=0.5, apply=False),
            ),
            custom_hooks=[FixedDraws(weights), *hooks, *([ExactAccumulationHook()] * share.exact)],
            default_hooks=dict(checkpoint=None, logger=None),
            launcher='pytorch' if share.ranks > 1 else 'none',
            cfg=Config(
                dict(
                    model_wrapper_cfg=dict(
                        type='MMDistributedDataParallel',
                        device_ids=None,
                        find_unused_parameters=True,
                    )
                )
            ),
            log_level='ERROR',
            default_scope='mmdet',
            randomness=dict(seed=0),
            experiment_name=f'updates-{next(_RUNS)}',
        )
        start = Start()
        runner.register_hook(start)
        runner.train()
        return _flat(runner.model) - start.weights, runner.optim_wrapper.part(AGVMPart).state_dict()


def _flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def distance(one: Tensor, other: Tensor) -> float:
    """The norm of the difference over the norm of ``other``."""
    return float((one - other).norm() / other.norm())
