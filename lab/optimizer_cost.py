"""Measure what a step of every optimizer costs beside SGD's whole update, in one run."""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import agvm_mm  # noqa: F401  registers the optimizers
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table
from agvm_runs.work_dir import write_own

from .cost.models import add_model, build_batch, build_model, check_model_and_rounds, loss_of
from .cost.timing import cpu_seconds

FORMAT = 'agvm_mm optimizer cost 1'

RATE = dict(lr=1e-9, weight_decay=1e-4)  # so small that the work never changes
SPLIT = dict(constructor='MuonOptimWrapperConstructor')
OPTIMIZERS: dict[str, dict[str, Any]] = {
    'SGD': dict(optimizer=dict(type='SGD', momentum=0.9, foreach=True)),
    'AdamW': dict(optimizer=dict(type='AdamW', foreach=True)),
    'LARS': dict(optimizer=dict(type='LARSOptimizer')),
    'LAMB': dict(optimizer=dict(type='LAMBOptimizer')),
    'Adan': dict(optimizer=dict(type='AdanOptimizer')),
    'Muon': dict(SPLIT, optimizer=dict(type='MuonOptimizer')),
    'SOAP': dict(optimizer=dict(type='SOAPOptimizer')),
}

# What the host does alone: reading counters, comparing types, marking a profile.
ON_HOST = ('_local_scalar_dense', 'promote_types', '_record_function')


class Launches(TorchDispatchMode):
    """Names the operations that are launched, views apart; a ``foreach`` call is one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count the operation and run it."""
        name = func.overloadpacket.__name__
        aliases = [found.alias_info for found in func._schema.returns]
        view = any(alias is not None and not alias.is_write for alias in aliases)
        if not view and not name.startswith(ON_HOST):
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser)
    parser.add_argument('--rounds', type=int, default=10, help='of which each times every step')
    parser.add_argument(
        '--optimizers',
        nargs='+',
        choices=list(OPTIMIZERS),
        default=list(OPTIMIZERS),
        help='beside SGD; default all',
    )
    parser.add_argument('--out', type=Path, help='JSON file for all numbers')
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    check_model_and_rounds(args, FORMAT)
    model = build_model(args.model)
    batch = build_batch((0,), args.images, args.size, args.model)
    names = ['SGD', *(name for name in args.optimizers if name != 'SGD')]
    built = {name: _build(model, name) for name in names}
    _gradients(model, batch)
    for optimizer in built.values():
        for _ in range(2):  # state, and SOAP's first basis
            optimizer.step()
    seconds: dict[str, list[float]] = {name: [] for name in ('gradients', *names)}
    for _ in range(args.rounds):
        seconds['gradients'].append(cpu_seconds(lambda: _gradients(model, batch)))
        for name, optimizer in built.items():
            seconds[name].append(cpu_seconds(optimizer.step))
    flops = _flops(lambda: _gradients(model, batch))
    rows = {name: _row(name, optimizer, seconds, flops) for name, optimizer in built.items()}
    print(
        f'{args.model}, {args.images} images of {args.size} x {args.size}, {args.rounds} rounds, '
        f'forward and backward pass {mean(seconds["gradients"]):.2f} s of CPU time, '
        f'{flops / 1e9:.0f} GFLOP'
    )
    head = [
        'optimizer',
        'step, s of CPU time',
        'update / SGD',
        'modelled',
        'GFLOP',
        'operations',
        'state / weights',
    ]
    print(markdown_table(head, [[name, *row.values()] for name, row in rows.items()]))
    if args.out is not None:
        content = dict(format=FORMAT, rows=rows, seconds=seconds, flops=flops)
        write_own(args.out, json.dumps(content, indent=1) + '\n', FORMAT)


def _build(model: nn.Module, name: str) -> Optimizer:
    config = copy.deepcopy(OPTIMIZERS[name])
    config['optimizer'].update(RATE)
    optimizer: Optimizer = build_optim_wrapper(model, dict(config, type='OptimWrapper')).optimizer
    return optimizer


def _gradients(model: Any, batch: dict[str, Any]) -> None:
    model.zero_grad()
    loss_of(model, batch).backward()


def _flops(call: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _row(
    name: str, optimizer: Optimizer, seconds: dict[str, list[float]], flops: int
) -> dict[str, str]:
    with Launches() as launches:
        optimizer.step()
    own = _flops(optimizer.step)
    whole = mean(seconds['gradients'])
    ratio = (whole + mean(seconds[name])) / (whole + mean(seconds['SGD']))
    parameters = [p for g in optimizer.param_groups for p in g['params'] if p.requires_grad]
    weights = sum(p.numel() for p in parameters)
    state = sum(t.numel() for values in optimizer.state.values() for t in _tensors(values.values()))
    return dict(
        step=f'{mean(seconds[name]):.2f}',
        ratio=f'{ratio:.2f}',
        modelled=f'{1 + own / flops:.2f}',
        gflop=f'{own / 1e9:.0f}',
        operations=str(len(launches.names)),
        state=f'{state / weights:.1f}',
    )


def _tensors(values: Any) -> list[torch.Tensor]:
    listed = [v if isinstance(v, (list, tuple)) else [v] for v in values]
    return [v for found in listed for v in found if isinstance(v, torch.Tensor)]


if __name__ == '__main__':
    with exit_with_sentence():
        main()
