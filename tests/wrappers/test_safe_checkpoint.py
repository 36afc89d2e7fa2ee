"""A checkpoint of a run with every part of the plugin that has a state holds numbers and text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from runs import ThreePartNet, random_classes

import agvm_mm.curriculum  # noqa: F401  registers the hooks
from agvm_mm import compat

pytest.importorskip('pytorch_optimizer', reason='Adan comes from pytorch_optimizer')

OURS = ('optimizer', 'param_schedulers', 'state_dict')


@MODELS.register_module()
class ListNet(ThreePartNet):
    """Takes lists, as replay makes them."""

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return super().forward(torch.stack(inputs), torch.stack(data_samples), mode)


@pytest.fixture
def no_allow_list() -> Iterator[None]:
    """Without the types that a stack has added to torch's own."""
    if not hasattr(torch.serialization, 'get_safe_globals'):
        pytest.skip('torch loads histories and counters as weights only since 2.5')
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def _config(work_dir: Path) -> Config:
    wrapper = dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type='AdanOptimizer', lr=1e-3),
        agvm=dict(interval=1, momentum=0.5, precondition=True),
        kfac=dict(momentum=0.7, statistics_interval=1, inverse_interval=2, damping=0.1),
        clip_grad=dict(type='agc', clip_factor=0.1, begin=1),
        accumulative_counts=2,
    )
    replayed = dict(share=0.4, ratio=1.0, replay=2, buffer=2, batch=2)
    return Config(
        dict(
            model=dict(type='ListNet'),
            work_dir=str(work_dir),
            train_dataloader=random_classes('pseudo_collate'),
            train_cfg=dict(by_epoch=True, max_epochs=4),
            optim_wrapper=wrapper,
            param_scheduler=[
                dict(type='ExponentialWarmupLR', ratio=0.1, end=8, by_epoch=False),
                dict(type='MultiStepLR', milestones=[2], by_epoch=True, end=9),
            ],
            default_hooks=dict(
                param_scheduler=dict(type='ComputeParamSchedulerHook'),
                checkpoint=dict(type='CheckpointHook', interval=1),
            ),
            custom_hooks=[
                dict(type='KFACStateHook'),
                dict(type='SeedEpochHook'),
                dict(type='AdanRestartHook', epochs=[1]),
                dict(type='VarianceTableHook'),
                dict(type='CurriculumHook', stages=[replayed, dict(share=0.6, ratio=1.0)]),
            ],
            randomness=dict(seed=0),
            log_level='ERROR',
        )
    )


@pytest.mark.usefixtures('no_allow_list')
def test_what_the_plugin_writes_loads_as_weights_only(tmp_path: Path) -> None:
    Runner.from_cfg(_config(tmp_path)).train()
    path = Path((tmp_path / 'last_checkpoint').read_text())
    # MMEngine's histories are a class of its own, which the tools allow.
    compat.allow_own_checkpoints()
    checkpoint = torch.load(path, weights_only=True)
    torch.serialization.clear_safe_globals()

    torch.save({key: checkpoint[key] for key in OURS}, tmp_path / 'ours.pth')
    ours = torch.load(tmp_path / 'ours.pth', weights_only=True)
    assert {'agvm', 'kfac', 'state', 'param_groups'} <= set(ours['optimizer'])
    assert ours['optimizer']['agvm']['modules']['neck']['estimates'] > 1
    assert all('factors' in layer for layer in ours['optimizer']['kfac']['layers'].values())
    assert {'exp_avg', 'exp_avg_diff'} & set(next(iter(ours['optimizer']['state'].values())))
    scalars = set(checkpoint['message_hub']['log_scalars'])
    for name in ('train/agvm/scale/neck', 'train/curriculum/ratio', 'train/agc/clipped/neck'):
        assert name in scalars
    assert any(name.startswith('train/kfac/') for name in scalars)
