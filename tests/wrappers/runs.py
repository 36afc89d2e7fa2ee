"""A small network trained by MMEngine's own runners on a rank of a test."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_agg  # noqa: F401  what MMEngine's visualizer imports on every rank
import matplotlib.figure  # noqa: F401
import torch
import torch._dynamo  # noqa: F401  for DistributedDataParallel
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import FlexibleRunner, Runner
from torch import Tensor, nn

from agvm_mm.parts import AGVMPart
from agvm_mm.wrappers import PartsMixin

DDP = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
AGVM = dict(
    type='AGVMOptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9),
    agvm=dict(interval=2, begin=1, momentum=0.5),
)
PLAIN = dict(type='OptimWrapper', optimizer=AGVM['optimizer'])


@MODELS.register_module()
class ThreePartNet(BaseModel):
    """Convolutions and a classifier in three modules."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU())
        self.neck = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        features = self.neck(self.backbone(inputs))
        self.computed_in = features.dtype  # bfloat16 or float16 under autocast
        scores = self.head(features.mean((2, 3)))
        return dict(loss=nn.functional.cross_entropy(scores.float(), data_samples))


@DATASETS.register_module()
class RandomClasses(BaseDataset):
    """32 random images of random classes, the same in every process."""

    def load_data_list(self) -> list[dict[str, Any]]:
        return [dict(seed=seed) for seed in range(32)]

    def prepare_data(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(self.get_data_info(index)['seed'])
        return dict(
            inputs=torch.randn(3, 8, 8, generator=generator),
            data_samples=torch.randint(0, 4, (), generator=generator),
        )


def data(rank: int, step: int) -> dict[str, Any]:
    """A micro-batch for a hand-written loop."""
    generator = torch.Generator().manual_seed(1000 * rank + step)
    return dict(
        inputs=torch.randn(2, 3, 8, 8, generator=generator),
        data_samples=torch.randint(0, 4, (2,), generator=generator),
    )


_EXPERIMENTS = itertools.count()


def random_classes(collate: str) -> dict[str, Any]:
    """A loader of four images a rank, put together by the function ``collate``."""
    return dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type=collate),
        dataset=dict(type='RandomClasses'),
    )


def build_runner(
    work_dir: Path,
    optim_wrapper: dict[str, Any],
    epochs: int = 4,
    flexible: bool = False,
    **more: Any,
) -> Any:
    """A Runner or FlexibleRunner for one of two ranks, 4 iterations of 4 images an epoch."""
    torch.manual_seed(0)
    common = dict(
        model=dict(type='ThreePartNet'),
        work_dir=str(work_dir),
        train_dataloader=random_classes('default_collate'),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=optim_wrapper,
        param_scheduler=dict(type='MultiStepLR', milestones=[3], by_epoch=True, end=9),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1),
            logger=dict(type='LoggerHook', interval=1),
        ),
        launcher='pytorch',
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        randomness=dict(seed=0),
        log_level='ERROR',
        experiment_name=f'{work_dir.name}_{next(_EXPERIMENTS)}',  # a message hub of its own
        **more,
    )
    if flexible:
        common.setdefault('strategy', dict(type='DDPStrategy', model_wrapper=DDP))
        return FlexibleRunner(**common)  # its from_cfg leaves `compile` out
    return Runner.from_cfg(Config(dict(common, model_wrapper_cfg=DDP)))


def summary(runner: Any) -> dict[str, Any]:
    """What two equal runs have in common."""
    wrapper = runner.optim_wrapper
    part = wrapper.part(AGVMPart) if isinstance(wrapper, PartsMixin) else None
    return dict(
        weights=torch.cat([p.detach().reshape(-1) for p in runner.model.parameters()]),
        state=None if part is None else {**part.state_dict(), 'update': wrapper.updates},
        momentum=[v['momentum_buffer'] for v in wrapper.optimizer.state.values()],
        scalars={
            name: scalar.data[0].tolist()
            for name, scalar in runner.message_hub.log_scalars.items()
            if 'agvm' in name
        },
    )
