"""What ``attach`` refuses, in the words of its own arguments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attach_runs import AGVM, Detector, adam, batch
from ranks import run_ranks
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel

import agvm_mm


def refusal(model: nn.Module | None = None, optimizer: Any = None, **options: Any) -> str:
    model = Detector() if model is None else model
    optimizer = adam(model) if optimizer is None else optimizer
    with pytest.raises(ValueError) as caught:
        agvm_mm.attach(model, optimizer, **options)
    (text,) = caught.value.args
    assert not any(hooks for module in model.modules() for hooks in (
        module._forward_hooks, module._forward_pre_hooks)), 'hooks are left'  # fmt: skip
    for word in ('optim_wrapper', 'accumulative_counts', 'MMDistributed', 'cfg', 'tools/'):
        assert word not in text
    return text


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(accumulation=0), 'attach.accumulation is 0; allowed is a whole number of backward'),
        (dict(), 'this run has one: 1 process x accumulation=1; launch at least 2 processes, set '
                 'accumulation to at least 2, or set agvm=None.'),
        (dict(agvm=dict(anchor='stem')), "agvm.anchor is 'stem', which is not a module of this"),
        (dict(agvm=dict(anchr='stem')), "agvm has the unknown key 'anchr'"),
        (dict(agvm=dict(interval=0)), 'agvm.interval is 0; allowed is a whole number of updates'),
        (dict(modules=dict(backbone=['stem'])), 'is in no module'),
        (dict(agvm=None, modules=dict(a=['b'])), 'agvm is None; give modules once, for a run with'),
        (dict(agvm=dict(modules=dict(a=['b'])), modules=dict(a=['b'])), 'give modules once'),
        (dict(clip=dict(max_norm=1)), 'To clip the norm of all gradients call torch.nn.utils.clip'),
        (dict(clip=3), 'clip is 3; allowed is a dict with options of adaptive clipping'),
        (dict(clip=dict(factor=1)), "clip has the unknown key 'factor'; known are clip_factor,"),
        (dict(kfac=dict(damping=0)), 'kfac.damping is 0; allowed is'),
    ],
)  # fmt: skip
def test_values(options: dict[str, Any], sentence: str) -> None:
    more = {} if 'accumulation' in options or not options else dict(accumulation=2)
    assert sentence in refusal(**options, **more)


def test_a_second_handle() -> None:
    model = Detector()
    optimizer = adam(model)
    handle = agvm_mm.attach(model, optimizer, accumulation=2)
    with pytest.raises(ValueError, match='is attached already, and its learning rates would be'):
        agvm_mm.attach(model, optimizer, accumulation=2)
    handle.detach()
    agvm_mm.attach(model, optimizer, accumulation=2)


def test_nothing_is_left_on_a_model_with_k_fac() -> None:
    """Neither by a set-up that another part refuses nor by a handle that was detached."""
    model = Detector()
    refusal(model, accumulation=2, kfac={}, agvm=dict(anchor='stem'))
    handle = agvm_mm.attach(model, adam(model), accumulation=2, kfac={})
    assert any(module._forward_hooks for module in model.modules())
    handle.detach()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_set_ups() -> None:
    assert 'is wrapped in DataParallel, which adds up the gradients' in refusal(
        nn.DataParallel(Detector()), accumulation=2
    )
    model = Detector()
    some = torch.optim.SGD(model.neck.parameters(), lr=0.1)
    assert "'backbone.0.weight' is not in the optimizer SGD" in refusal(model, some, accumulation=2)
    lbfgs = torch.optim.LBFGS(model.parameters())
    assert 'the optimizer is LBFGS, which keeps its own copy' in refusal(
        model, lbfgs, accumulation=2
    )


def _on_ranks(rank: int) -> list[str]:
    sharded = FullyShardedDataParallel(Detector(), device_id=torch.device('cpu'))
    static = DistributedDataParallel(Detector(), static_graph=True)
    return [
        refusal(agvm=AGVM),
        refusal(sharded, agvm=AGVM),
        refusal(static, agvm=AGVM, accumulation=2),
    ]


def test_set_ups_on_ranks() -> None:
    bare, sharded, static = run_ranks(_on_ranks, 2)[0]
    assert '2 processes train this model without a data-parallel wrapper' in bare
    assert 'attach to the model in DistributedDataParallel, or set agvm=None' in bare
    assert 'which leaves every rank a shard of the mean gradient' in sharded
    assert 'has static_graph=True and accumulation is 2' in static


def _in_join(rank: int) -> list[str]:
    answers = []
    for options in (dict(agvm=AGVM), dict(agvm=None, kfac={})):
        model = DistributedDataParallel(Detector())
        handle = agvm_mm.attach(model, adam(model), accumulation=2, **options)
        loss = model(*batch(0, rank))
        with pytest.raises(RuntimeError) as caught, model.join():
            loss.backward()
        answers += caught.value.args
        handle.detach()
    return answers


def test_uneven_inputs() -> None:
    agvm, kfac = run_ranks(_in_join, 1)[0]
    assert agvm == kfac
    assert 'is inside of join(), where ranks end at different times, and what is measured' in agvm


def test_a_checkpoint_of_other_modules() -> None:
    model = Detector()
    handle = agvm_mm.attach(model, adam(model), accumulation=2)
    state = handle.state_dict()
    state['agvm']['modules']['stem'] = state['agvm']['modules'].pop('neck')
    with pytest.raises(ValueError, match=r'set agvm\.modules as it was when the checkpoint'):
        handle.load_state_dict(state)


def test_a_checkpoint_that_is_none_of_a_handle() -> None:
    """Without the check, a run would begin anew without a word."""
    model = Detector()
    optimizer = adam(model)
    handle = agvm_mm.attach(model, optimizer, accumulation=2)
    sentence = r"was given a dict with the keys 'param_groups', 'state'; allowed is what state_dict"
    with pytest.raises(ValueError, match=sentence):
        handle.load_state_dict(optimizer.state_dict())
    none: Any = None
    with pytest.raises(ValueError, match=r'load_state_dict\(\) was given a NoneType; allowed is'):
        handle.load_state_dict(none)


def test_arguments_of_other_types() -> None:
    model = Detector()
    answers: list[str] = []
    arguments: list[tuple[Any, Any, Any]] = [
        (adam(model), model, None), (model, 'adam', None), (model, adam(model), 2.0),
    ]  # fmt: skip
    for net, optimizer, scaler in arguments:
        with pytest.raises(ValueError) as caught:
            agvm_mm.attach(net, optimizer, accumulation=2, scaler=scaler)
        answers += caught.value.args
    assert answers == [
        'attach.model is of the type AdamW; allowed is a torch.nn.Module.',
        'attach.optimizer is of the type str; allowed is a torch.optim.Optimizer.',
        'attach.scaler is of the type float; allowed is a GradScaler or None.',
    ]


def test_clipping_of_sparse_gradients() -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Linear(4, 2))

    def sgd(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1)

    model = net()
    text = refusal(model, sgd(model), agvm=None, clip={})
    assert text.startswith("'0' is an embedding with sparse gradients, which adaptive clipping")
    model = net()
    optimizer = sgd(model)
    agvm_mm.attach(model, optimizer, agvm=None, clip=dict(exclude='^0'))
    model(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
