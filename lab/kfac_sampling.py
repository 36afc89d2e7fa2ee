"""Measure what K-FAC loses with some positions of the inputs alone, and with factors in blocks."""

from __future__ import annotations

import argparse
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from agvm_mm.distributed import SingleProcess
from agvm_mm.kfac import KFAC, KFACSettings
from agvm_mm.launch.command_line import require_at_least
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_table

from .cost.models import add_model, build_batch, build_model, loss_of


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser, default='faster-rcnn_r18')
    parser.add_argument(
        '--limits', type=int, nargs='*', default=[1600, 400, 100], help='values of max_positions'
    )
    parser.add_argument(
        '--blocks', type=int, nargs='*', default=[1024, 512, 256], help='values of max_block'
    )
    parser.add_argument(
        '--updates', type=int, default=0, help='of SGD on the batch before anything is measured'
    )
    parser.add_argument('--draws', type=int, default=2, help='of every limit')
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    require_at_least(args, {'images': 1, 'size': 32, 'limits': 1, 'blocks': 1, 'draws': 1})
    model = build_model(args.model)
    batch = build_batch((0,), args.images, args.size, args.model)
    _train(model, batch, args.updates)
    whole = _measured(model, batch, 0)
    rows = []
    for limit in args.limits:
        draws = [
            _errors(_measured(model, batch, i, max_positions=limit), whole)
            for i in range(args.draws)
        ]
        rows.append([f'max_positions={limit}', *(f'{mean(one):.3f}' for one in zip(*draws))])
    for block in args.blocks:
        _, _, *errors = _errors(_measured(model, batch, 0, max_block=block), whole)
        rows.append([f'max_block={block}', '', '', *(f'{error:.3f}' for error in errors)])
    print(
        f'{args.model}, {args.images} images of {args.size} x {args.size} after {args.updates} '
        f'updates, {args.draws} draws'
    )
    head = ['kfac', 'error of A, mean over layers', 'largest']
    head += ['error of the preconditioned gradient', 'cosine']
    print(markdown_table(head, rows))


Measured = dict[str, tuple[Tensor, Tensor]]


def _train(model: Any, batch: dict[str, Any], updates: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    for _ in range(updates):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()


def _measured(model: Any, batch: dict[str, Any], update: int, **options: int) -> Measured:
    """A and the preconditioned gradient of every layer that has both."""
    plain: dict[str, Any] = dict(damping=1e-3, max_block=None, kl_clip=None)
    settings = KFACSettings(statistics_interval=1, inverse_interval=1, **{**plain, **options})
    kfac = KFAC(model, settings, SingleProcess())
    kfac.before_update(update)
    model.zero_grad()
    loss = loss_of(model, batch)
    with kfac.around_backward(0, 1, len(batch['inputs'])):
        loss.backward()
    kfac.step(update, {})
    found = {}
    for layer in kfac.layers:
        layer.due = False  # its hooks stay on the model
        matrix = layer.helper.matrix()
        if layer.factors is not None and len(layer.factors) == 2 and matrix is not None:
            found[layer.name] = layer.factors[0], matrix.clone()
    return found


def _errors(found: Measured, whole: Measured) -> tuple[float, ...]:
    factors = [
        float(_distance(found[name][0], whole[name][0]))
        for name in whole
        if found[name][0].shape == whole[name][0].shape
    ]
    new, old = (
        torch.cat([m.flatten() for _, m in one.values()]).double() for one in (found, whole)
    )
    cosine = torch.cosine_similarity(new, old, 0)
    return mean(factors), max(factors), float(_distance(new, old)), float(cosine)


def _distance(new: Tensor, old: Tensor) -> Tensor:
    distance: Tensor = (new - old).norm() / old.norm()
    return distance


if __name__ == '__main__':
    with exit_with_sentence():
        main()
