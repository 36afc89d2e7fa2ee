"""Micro-batches that share the normalisers of a head: the mechanism, on a small network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mmdet.utils
import pytest
import torch
import torch._dynamo  # noqa: F401  what ranks would import, before the fork
from mmdet.utils import reduce_mean
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, MODELS
from mmengine.runner import Runner
from ranks import run_ranks
from torch import Tensor, nn

import agvm_mm  # noqa: F401
from agvm_mm.hooks.lookahead import Lookahead
from agvm_mm.hooks.undo import RandomState, undone
from agvm_mm.parts import AGVMPart
from agvm_mm.wrappers.normalisers import shared_sites

FIELDS = 24
RATE = 0.05


class CountingHead(nn.Module):
    """Divides two losses by two counts; the second counts what dropout leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(4, 1)
        self.drop = nn.Dropout(0.5)
        self.calls: list[float] = []  # what each call got

    def loss(self, features: Tensor, objects: Tensor) -> dict[str, Tensor]:
        kept = self.drop(features)
        scores = self.score(kept).squeeze(-1)
        boxes = reduce_mean(objects.sum().to(scores)).clamp_(min=1)
        left = reduce_mean((kept != 0).sum().to(scores)).clamp_(min=1)
        self.calls += [float(boxes), float(left)]
        return dict(
            loss_objects=(scores * objects).sum() / boxes, loss_scores=scores.square().sum() / left
        )


@MODELS.register_module()
class CountingNet(BaseModel):
    """A backbone with batch norm, and the head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = CountingHead()

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return self.head.loss(self.backbone(torch.cat(list(inputs))), torch.cat(list(data_samples)))


@DATASETS.register_module()
class FieldsOfObjects(BaseDataset):
    """Images of 8 positions; the number of objects differs by a factor of eight."""

    def load_data_list(self) -> list[dict[str, Any]]:
        return [dict(seed=seed) for seed in range(FIELDS)]

    def prepare_data(self, index: int) -> dict[str, Any]:
        return field(self.get_data_info(index)['seed'])


def field(seed: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    objects = torch.zeros(8, dtype=torch.float64)
    objects[: [1, 8, 0, 5][seed % 4]] = 1
    inputs = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    return dict(inputs=inputs, data_samples=objects)


@HOOKS.register_module()
class SeedIterationHook(Hook):
    """Random numbers of a pass that depend on its iteration alone, as if others drew between."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        torch.manual_seed(runner.iter)


HOOK = dict(type='ExactAccumulationHook')
SGD = dict(type='SGD', lr=RATE)
_RUNS = iter(range(10**6))


def train(
    folder: Path,
    counts: int = 4,
    hooks: tuple[dict[str, Any], ...] = (HOOK,),
    epochs: int | None = 1,
    fields: int = 8,
    wrapper: str = 'OptimWrapper',
    ranks: bool = False,
    workers: int = 0,
    **options: Any,
) -> Any:
    """Train on the first ``fields`` images, a rank at a time; None for iterations."""
    config = dict(
        model=dict(type='CountingNet'),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=1,
            num_workers=workers,
            sampler=dict(type='DefaultSampler', shuffle=False)
            if epochs
            else dict(type='InfiniteSampler', shuffle=False),
            dataset=dict(type='FieldsOfObjects', indices=fields),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs)
        if epochs
        else dict(by_epoch=False, max_iters=fields),
        optim_wrapper=dict(type=wrapper, optimizer=SGD, accumulative_counts=counts, **options),
        default_hooks=dict(checkpoint=None),
        custom_hooks=[dict(type='SeedIterationHook'), *hooks],
        launcher='pytorch' if ranks else 'none',
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None),
        experiment_name=f'exact-{next(_RUNS)}',
    )
    torch.set_default_dtype(torch.float64)
    try:
        runner = Runner.from_cfg(Config(config))
        weights(runner.model)
        runner.train()
    finally:
        torch.set_default_dtype(torch.float32)
    return runner


def weights(model: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def updated(
    net: CountingNet, seeds: list[int], groups: list[list[int]], iteration: int
) -> list[Tensor]:
    """The weights after one SGD step over ``seeds``, worked out without the package.

    Args:
        net: the network before it.
        seeds: of the fields, one a micro-batch.
        groups: positions in ``seeds`` of those that share their counts; the random numbers of a
            group are those from its first iteration on.
        iteration: the first of the update.
    """
    parts = []
    for i, seed in enumerate(seeds):
        if any(group[0] == i for group in groups):
            torch.manual_seed(iteration + i)
        data = field(seed)
        kept = net.head.drop(net.backbone(data['inputs']))
        scores = net.head.score(kept).squeeze(-1)
        parts.append((scores, data['data_samples'], (kept != 0).sum()))
    total = torch.zeros(())
    for group in groups:
        boxes = max(sum(float(parts[i][1].sum()) for i in group) / len(group), 1.0)
        left = max(sum(float(parts[i][2]) for i in group) / len(group), 1.0)
        for scores, objects, _ in (parts[i] for i in group):
            total = total + (scores * objects).sum() / boxes + scores.square().sum() / left
    gradients = torch.autograd.grad(total / len(seeds), list(net.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(net.parameters(), gradients):
            parameter -= RATE * gradient
    return [p.detach().clone() for p in net.parameters()]


def oracle(updates: list[tuple[list[int], list[list[int]]]]) -> list[Tensor]:
    torch.set_default_dtype(torch.float64)
    try:
        net = weights(CountingNet())
        done = 0
        for seeds, groups in updates:
            result = updated(net, seeds, groups, done)
            done += len(seeds)
    finally:
        torch.set_default_dtype(torch.float32)
    return [*result, net.backbone[1].running_mean, net.backbone[1].running_var]


def difference(runner: Any, expected: list[Tensor]) -> float:
    model = runner.model
    model = getattr(model, 'module', model)
    found = [*model.parameters(), model.backbone[1].running_mean, model.backbone[1].running_var]
    return max(float((a - b).detach().abs().max()) for a, b in zip(found, expected))


def shared(*seeds: int) -> tuple[list[int], list[list[int]]]:
    return list(seeds), [list(range(len(seeds)))]


def warnings(folder: Path) -> list[str]:
    """What the only run in ``folder`` warned of."""
    (log,) = folder.glob('*/*.log')
    return [line for line in log.read_text().splitlines() if ' - WARNING - ' in line]


@pytest.mark.parametrize('epochs', [1, None], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'AGVMOptimWrapper'])
def test_micro_batches_share_their_counts(wrapper, epochs, tmp_path):
    """Draws and running statistics are those of one pass over every micro-batch."""
    options = dict(agvm=dict(apply=False)) if wrapper == 'AGVMOptimWrapper' else {}
    runner = train(tmp_path, epochs=epochs, wrapper=wrapper, **options)
    assert not [text for text in warnings(tmp_path) if 'Exact' in text or 'CountingHead' in text]
    assert difference(runner, oracle([shared(0, 1, 2, 3), shared(4, 5, 6, 7)])) < 1e-12
    if wrapper == 'AGVMOptimWrapper':
        assert runner.optim_wrapper.part(AGVMPart).images == 4


def test_batches_may_come_from_loader_processes(tmp_path):
    runner = train(tmp_path, workers=2)
    assert difference(runner, oracle([shared(0, 1, 2, 3), shared(4, 5, 6, 7)])) < 1e-12


def test_without_the_hook_they_do_not(tmp_path):
    runner = train(tmp_path, hooks=())
    assert difference(runner, oracle([shared(0, 1, 2, 3), shared(4, 5, 6, 7)])) > 0.01
    alone = [[0], [1], [2], [3]]
    apart = oracle([([0, 1, 2, 3], alone), ([4, 5, 6, 7], alone)])
    assert difference(runner, apart) < 1e-12


def test_the_last_update_of_a_run_may_be_smaller(tmp_path):
    runner = train(tmp_path, fields=7)
    assert difference(runner, oracle([shared(0, 1, 2, 3), shared(4, 5, 6)])) < 1e-12


def test_an_update_over_two_epochs_shares_within_each(tmp_path):
    """6 micro-batches an epoch, 4 an update."""
    runner = train(tmp_path, fields=6, epochs=2)
    across = ([4, 5, 0, 1], [[0, 1], [2, 3]])
    assert difference(runner, oracle([shared(0, 1, 2, 3), across, shared(2, 3, 4, 5)])) < 1e-12


@HOOKS.register_module()
class ChangingHook(Hook):
    """Changes every batch when its iteration begins."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        data_batch['data_samples'] = [torch.ones_like(x) for x in data_batch['data_samples']]


def test_a_batch_that_changes_after_it_was_counted_gets_a_warning(tmp_path):
    train(tmp_path, hooks=(HOOK, dict(type='ChangingHook')))
    assert len([text for text in warnings(tmp_path) if 'counted something else' in text]) == 1


def _on_ranks(rank: int, folder: Path, counts: int) -> tuple[list[Tensor], dict[str, Any]]:
    runner = train(
        folder,
        counts=counts,
        wrapper='AGVMOptimWrapper',
        ranks=True,
        agvm=dict(interval=1, momentum=0.5),
        hooks=(HOOK, dict(type='NoDrawsHook')),
    )
    part = runner.optim_wrapper.part(AGVMPart)
    return [p.detach() for p in runner.model.parameters()], part.state_dict()


@HOOKS.register_module()
class NoDrawsHook(Hook):
    """No dropout and fixed statistics: what the ranks of another split could not repeat."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        for module in runner.model.modules():
            if isinstance(module, (nn.Dropout, nn.BatchNorm1d)):
                module.eval()


def test_ranks_and_micro_batches_are_one(tmp_path):
    """1 x 4 = 2 x 2: weights, phi and scales after two updates."""
    one = run_ranks(_on_ranks, 1, tmp_path / '1', 4)[0]
    two = run_ranks(_on_ranks, 2, tmp_path / '2', 2)[0]
    assert max(float((a - b).abs().max()) for a, b in zip(one[0], two[0])) < 1e-12
    for name, module in one[1]['modules'].items():
        assert module == pytest.approx(two[1]['modules'][name], rel=1e-9), name


def test_mmdet_gets_its_function_back(tmp_path):
    train(tmp_path)
    assert globals()['reduce_mean'] is mmdet.utils.reduce_mean
    train(tmp_path, hooks=())
    assert globals()['reduce_mean'] is mmdet.utils.reduce_mean


@pytest.mark.parametrize(('hooks', 'counts', 'warned'), [((), 4, 1), ((), 1, 0), ((HOOK,), 4, 0)])
def test_a_run_says_what_it_does_not_share(hooks, counts, warned, tmp_path):
    kind = 'PartsOptimWrapper'
    train(tmp_path, counts=counts, hooks=hooks, wrapper=kind)
    texts = [text for text in warnings(tmp_path) if 'CountingHead' in text]
    assert len(texts) == warned
    assert all("custom_hooks=[dict(type='ExactAccumulationHook')]" in text for text in texts)


def test_a_head_that_overrides_what_calls_reduce_mean_is_none():
    class Overriding(CountingHead):
        def loss(self, features: Tensor, objects: Tensor) -> dict[str, Tensor]:
            return {}

    assert [site.head for site in shared_sites(CountingHead())] == ['CountingHead']
    assert shared_sites(Overriding()) == []


def test_several_optimizers_are_refused(tmp_path):
    from agvm_mm.hooks import ExactAccumulationHook

    runner = SimpleNamespace(optim_wrapper={}, model=CountingNet())
    with pytest.raises(ValueError, match='needs one optimizer for the whole model'):
        ExactAccumulationHook().before_train(runner)


def test_an_unknown_loop_is_refused():
    from agvm_mm.hooks.lookahead import look_ahead

    with pytest.raises(ValueError, match='whose batches ExactAccumulationHook cannot see'):
        look_ahead(SimpleNamespace(dataloader=[1]))


def test_a_lookahead_gives_every_batch_once():
    ahead = Lookahead([1, 2, 3])
    seen = []
    for batch in ahead:
        seen.append((batch, ahead.peek(2 if batch == 1 else 1)))
    assert seen == [(1, [2, 3]), (2, [3]), (3, [])]
    assert list(ahead) == [1, 2, 3] and len(ahead) == 3


def test_what_hooks_set_on_a_loader_reaches_it():
    loader = SimpleNamespace(persistent_workers=True)
    Lookahead(loader).persistent_workers = False
    assert loader.persistent_workers is False


class _Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('replaced', torch.zeros(2))
        self.register_buffer('filled', torch.zeros(2))
        self.size = 1

    def forward(self) -> Tensor:
        self.replaced = self.replaced + 1
        self.filled += 1
        self.size += 1
        return torch.rand(3)


def test_a_pass_that_is_undone_leaves_nothing():
    module, device = _Stateful(), torch.device('cpu')
    buffers = dict(module.named_buffers())
    state = RandomState.now(device)
    with undone(module):
        first = module()
        assert module.size == 2 and bool((module.filled == 1).all())
    state.restore()
    assert module.size == 1 and all(b is buffers[n] for n, b in module.named_buffers())
    assert all(not b.any() for b in module.buffers())
    assert torch.equal(module(), first)
