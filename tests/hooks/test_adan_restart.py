"""Adan's restarts: at the given updates, also in a run that resumes there."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner
from torch import Tensor, nn

from agvm_mm.hooks import AdanRestartHook

pytest.importorskip('pytorch_optimizer', reason='Adan comes from it')

_COUNT = itertools.count()
EPOCH = 4  # iterations


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.steps: list[int] = []

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        return dict(loss=self.layer(inputs).square().mean())


def run(
    work_dir: Path,
    epochs: int,
    hook: dict[str, Any] | None,
    optimizer: str = 'AdanOptimizer',
    counts: int = 1,
    **more: Any,
) -> tuple[Tensor, list[int]]:
    """Weights, and the optimizer's step counter after every update."""
    torch.manual_seed(0)
    model = Net()
    generator = torch.Generator().manual_seed(1)
    data = [dict(inputs=torch.randn(3, generator=generator)) for _ in range(2 * EPOCH)]
    hooks = [] if hook is None else [dict(type='AdanRestartHook', **hook)]
    runner = Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=data,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            type='AGVMOptimWrapper',
            agvm=None,
            optimizer=dict(type=optimizer, lr=0.01),
            accumulative_counts=counts,
        ),
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        experiment_name=f'adan_restart_{next(_COUNT)}',
        log_level='ERROR',
        **more,
    )
    seen: list[int] = []
    runner.build_train_loop(runner._train_loop)
    step = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper = step
    step.optimizer.register_step_post_hook(
        lambda optimizer, *_: seen.append(optimizer.param_groups[0].get('step', -1))
    )
    runner.train()
    return model.layer.weight.detach().clone(), seen


def test_the_counter_starts_anew_at_the_given_updates_and_epochs(tmp_path: Path) -> None:
    _, seen = run(tmp_path, 3, dict(updates=[2], epochs=[2]))
    assert seen == [1, 2, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4]


def test_updates_are_not_micro_batches(tmp_path: Path) -> None:
    _, seen = run(tmp_path, 2, dict(updates=[1]), counts=2)
    assert seen == [1, 1, 2, 3]


def test_a_run_resumed_at_a_restart_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    hook = dict(updates=[2], epochs=[1, 2])
    whole, _ = run(tmp_path / 'whole', 3, hook)
    run(tmp_path / 'parts', 1, hook)
    resumed, seen = run(tmp_path / 'parts', 3, hook, resume=True)
    assert torch.equal(whole, resumed) and seen[0] == 1
    assert not torch.equal(whole, run(tmp_path / 'none', 3, None)[0])


def _optimizer(kind: str, weight: nn.Parameter) -> torch.optim.Optimizer:
    return OPTIMIZERS.build(dict(type=kind, params=[weight], lr=0.01))


def _stepped(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> torch.optim.Optimizer:
    """After two steps."""
    for _ in range(2):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    return optimizer


def test_of_several_optimizers_those_that_are_adan_restart() -> None:
    """Updates are counted in the micro-batches of the wrapper that has most of them."""
    weights = [nn.Parameter(torch.ones(2)) for _ in range(3)]
    kinds = ('AdanOptimizer', 'Adam', 'AdanOptimizer')
    optimizers = [_stepped(_optimizer(*pair), pair[1]) for pair in zip(kinds, weights)]
    wrappers = {
        str(i): OptimWrapper(optimizer, accumulative_counts=i + 1)
        for i, optimizer in enumerate(optimizers)
    }
    runner: Any = SimpleNamespace(
        optim_wrapper=OptimWrapperDict(**wrappers), train_dataloader=[None] * EPOCH, iter=0
    )
    hook = AdanRestartHook(updates=[2])
    hook.before_train(runner)
    assert all(bool(o.state[w]['exp_avg'].any()) for o, w in zip(optimizers, weights))
    restarts = []
    for runner.iter in range(8):
        hook.before_train_iter(runner)
        restarts.append(optimizers[0].param_groups[0]['step'] == 0)
    assert restarts == [False] * 6 + [True] * 2  # two updates of three micro-batches
    for optimizer, weight, kind in zip(optimizers, weights, kinds):
        kept = optimizer.state[weight].get('exp_avg', torch.zeros(2))
        assert bool(kept.any()) == (kind == 'Adam')
    assert optimizers[2].param_groups[0]['step'] == 0


def test_several_optimizers_without_adan() -> None:
    weight = nn.Parameter(torch.ones(2))
    wrapper = OptimWrapperDict(all=OptimWrapper(_optimizer('Adam', weight)))
    runner: Any = SimpleNamespace(optim_wrapper=wrapper, train_dataloader=[None] * EPOCH)
    with pytest.raises(ValueError, match='AdanRestartHook and no optimizer is Adan; set'):
        AdanRestartHook(updates=[2]).before_train(runner)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(), 'has neither epochs nor updates; give it the end of the warm-up'),
        (dict(epochs=[0]), r'epochs is \[0\]; allowed is a list of whole numbers, at least 1'),
        (dict(updates=5), 'updates is 5; allowed is a list of whole numbers'),
    ],
)
def test_wrong_values(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AdanRestartHook(**options)


def test_without_adan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='AdanRestartHook and no optimizer is Adan; set'):
        run(tmp_path, 1, dict(epochs=[1]), optimizer='SGD')
