"""Measure what micro-batches lose that share no normaliser, and what sharing costs."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import Tensor

from agvm_mm.hooks.undo import undone
from agvm_mm.launch.command_line import require_at_least
from agvm_mm.wrappers.normalisers import SharedNormalisers, shared_sites
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_line, markdown_table

from .architectures.small import CONFIGS, InFloat64, build_small, picture
from .architectures.updates import OBJECTS, Share, Weights, distance, train, trained

HEAD = ['network', 'own counts', 'running counts', 'from targets alone', 'CPU time']


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--networks', nargs='+', choices=list(CONFIGS), default=list(CONFIGS),
                        help='small ones; default all')  # fmt: skip
    parser.add_argument('--momentum', type=float, default=0.9, help='of the running counts')
    parser.add_argument('--rounds', type=int, default=3, help='of which each times both arms')
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    require_at_least(args, {'rounds': 1})
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    print(markdown_table(HEAD, []))
    for name in args.networks:
        weights = trained(name)
        exact, _ = train(name, weights, Share(exact=True))
        own, _ = train(name, weights, Share())
        running, _ = train(name, weights, Share(), [RunningCounts(name, args.momentum)])
        row = [
            name,
            f'{distance(own, exact):.2f}',
            f'{distance(running, exact):.2f}',
            'yes' if from_targets_alone(name, weights) else 'no',
            f'{cost(name, weights, args.rounds):.2f}',
        ]
        print(markdown_line(row), flush=True)


class RunningCounts(Hook):
    """The alternative without a second pass: every call gets a moving average of its results.

    Args:
        name: of the network, whose pictures fill the average before the first update.
        momentum: weight of the past.
    """

    def __init__(self, name: str, momentum: float) -> None:
        self._masks = name == 'Mask2Former'
        self._momentum = momentum
        self._averages: list[Tensor] = []
        self._call = 0

    def before_train(self, runner: Runner) -> None:
        """Take the place of ``reduce_mean``, and see 32 pictures."""
        network: Any = runner.model
        self._sites = shared_sites(network)
        self._original = self._sites[0].namespace[self._sites[0].name]
        for namespace, name, _ in self._sites:
            namespace[name] = self._average
        with torch.no_grad(), undone(network):
            for i in range(32):
                self._call = 0
                counts(network, picture(5000 + i, OBJECTS[i % len(OBJECTS)], self._masks))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Count calls from 0."""
        self._call = 0

    def after_train(self, runner: Runner) -> None:
        """Leave everything as it was."""
        for namespace, name, _ in self._sites:
            namespace[name] = self._original

    def _average(self, tensor: Tensor) -> Tensor:
        own, call = tensor.detach().clone(), self._call
        self._call += 1
        if call == len(self._averages):
            self._averages.append(own)
        past = self._averages[call]
        self._averages[call] = self._momentum * past + (1 - self._momentum) * own
        return self._averages[call].clone()


def counts(network: Any, data: dict[str, Any]) -> None:
    """A forward pass with the loss."""
    network(**network.data_preprocessor(pseudo_collate([data]), True), mode='loss')


def from_targets_alone(name: str, weights: Weights) -> bool:
    """Whether other weights count the same, so that no forward pass would be needed."""
    with InFloat64(), torch.no_grad():
        network = build_small(name)
        found = []
        for scale in (1.0, 0.5):
            network.load_state_dict({key: value * scale for key, value in weights.items()})
            normalisers = SharedNormalisers(network)
            normalisers.install()
            with recorded(normalisers):
                counts(network, picture(0, OBJECTS[1], name == 'Mask2Former'))
            found.append(normalisers.counts)
    return all(map(torch.equal, *found))


@contextmanager
def recorded(normalisers: SharedNormalisers) -> Iterator[None]:
    """Around a forward pass, with everything as before at the end."""
    try:
        with normalisers.recording():
            yield
    finally:
        normalisers.remove()


class Clock(Hook):
    """CPU seconds of the iterations."""

    priority = 'VERY_HIGH'
    seconds = 0.0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start once."""
        if batch_idx == 0:
            self._start = time.process_time()

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Note the time so far."""
        self.seconds = time.process_time() - self._start


def cost(name: str, weights: Weights, rounds: int) -> float:
    """CPU time of two updates with the hook over that without, the median of the rounds."""
    ratios = []
    for _ in range(rounds):
        seconds = []
        for exact in (True, False):
            clock = Clock()
            train(name, weights, Share(exact=exact, updates=2), [clock])
            seconds.append(clock.seconds)
        ratios.append(seconds[0] / seconds[1])
    return median(ratios)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
