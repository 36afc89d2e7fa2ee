"""The ``kfac=dict(...)`` of a config, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from agvm_runs.checks import any_of, is_count, is_number, is_one_of, require, require_known

from .solve import SOLVERS

WHERE = 'optim_wrapper.kfac'
SENT = ('gradients', 'solutions')
PRECISIONS = {'float32': torch.float32, 'float64': torch.float64}


@dataclass(frozen=True)
class KFACSettings:
    """Keys of ``kfac``; lengths are counted in optimizer updates, from 0.

    The defaults are those of the laboratory's comparison at batches 32 to 512, docs/kfac.md.

    Args:
        damping: lambda, added to the Fisher matrix.
        norm_damping: multiple of the damping that the 2 x 2 blocks of norm layers get.
        momentum: weight of the past in the moving average of the factors, in [0, 1).
        statistics_interval: measure the factors on every update that is a multiple of it.
        inverse_interval: invert them on every update that is a multiple of it.
        growing_intervals: begin with intervals of one update, which grow by one every ten updates
            up to those above.
        stale_threshold: relative change of a layer's factors below which it is measured more and
            more rarely; None for always every ``statistics_interval`` updates.
        solver: 'cholesky', with the damping divided between the factors, or 'eigen', exact.
        precision: 'float32' or 'float64', least of the inversion alone.
        max_size: a factor of more rows is approximated by its diagonal.
        max_block: a factor of more rows is cut between channels into blocks of at most as many,
            see :mod:`agvm_mm.kfac.blocks`; None for whole factors.
        measured_passes: how many micro-batches of an update are measured, its last ones; None for
            all. With few of many, a measurement at a large batch costs little.
        max_positions: about the most positions of an image at which a convolution's inputs are
            measured, a drawn grid of them; None for all.
        norms: precondition norm layers too.
        grouped: precondition grouped convolutions too, group by group.
        exclude: modules or parameters, by name, that keep their gradient.
        kl_clip: bound on the squared length of a step in the Fisher metric; None for none.
        rescale_weights: after each update, shrink weights to norm sqrt(2 x output channels).
        half: send factors as float16, after the backward pass instead of during it.
        overlap: send factors during the backward pass; not done under NCCL, nor with ``half``.
        send: what the owner of a layer sends to all ranks: 'gradients', preconditioned, on every
            update; or 'solutions', after an inversion, with which every rank then preconditions.
    """

    damping: float = 1e-5
    norm_damping: float = 16.0
    momentum: float = 0.8
    statistics_interval: int = 10
    inverse_interval: int = 10
    growing_intervals: bool = True
    stale_threshold: float | None = None
    solver: str = 'cholesky'
    precision: str = 'float32'
    max_size: int = 5000
    max_block: int | None = 256
    measured_passes: int | None = None
    max_positions: int | None = None
    norms: bool = True
    grouped: bool = True
    exclude: Sequence[str] = ()
    kl_clip: float | None = 1e-3
    rescale_weights: bool = False
    half: bool = False
    overlap: bool = True
    send: str = 'gradients'

    def __post_init__(self) -> None:
        for key in ('damping', 'norm_damping'):
            self._require(self._positive(key), key, 'a positive number')
        for key in ('stale_threshold', 'kl_clip'):
            none = getattr(self, key) is None
            self._require(none or self._positive(key), key, 'None or a positive number')
        momentum = self.momentum
        fraction = is_number(momentum) and 0 <= momentum < 1
        self._require(fraction, 'momentum', 'a number in [0, 1)')
        for key in ('statistics_interval', 'inverse_interval'):
            whole = is_count(getattr(self, key), 1)
            self._require(whole, key, 'a whole number of updates, at least 1')
        self._require(
            self.inverse_interval % self.statistics_interval == 0,
            'inverse_interval',
            f'a multiple of statistics_interval ({self.statistics_interval})',
        )
        self._require(is_count(self.max_size, 1), 'max_size', 'a whole number, at least 1')
        for key in ('max_block', 'measured_passes', 'max_positions'):
            none = getattr(self, key) is None
            whole = none or is_count(getattr(self, key), 1)
            self._require(whole, key, 'None or a whole number, at least 1')
        self._require(is_one_of(self.solver, SOLVERS), 'solver', any_of(SOLVERS))
        self._require(is_one_of(self.send, SENT), 'send', any_of(SENT))
        precise = is_one_of(self.precision, PRECISIONS)
        self._require(precise, 'precision', any_of(list(PRECISIONS)))
        prefixes = isinstance(self.exclude, (list, tuple)) and all(
            isinstance(prefix, str) and prefix for prefix in self.exclude
        )
        self._require(prefixes, 'exclude', 'a list of prefixes of parameter names')
        for key in ('growing_intervals', 'norms', 'grouped', 'rescale_weights', 'half', 'overlap'):
            self._require(isinstance(getattr(self, key), bool), key, 'True or False')

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> KFACSettings:
        """Settings from a config's dict; the dict is not kept.

        Raises:
            ValueError: an unknown key or a value outside its range.
        """
        require_known(values, [field.name for field in fields(cls)], WHERE)
        return cls(**values)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the inversion."""
        return PRECISIONS[self.precision]

    @property
    def sends_gradients(self) -> bool:
        """Whether owners precondition for all."""
        return self.send == 'gradients'

    def _positive(self, key: str) -> bool:
        value = getattr(self, key)
        return is_number(value) and value > 0

    def _require(self, holds: bool, key: str, allowed: str) -> None:
        require(holds, key, getattr(self, key), allowed, WHERE)
