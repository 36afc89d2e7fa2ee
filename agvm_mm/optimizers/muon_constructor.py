"""The optimizer wrapper constructor that splits a network for Muon."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS
from torch import nn

from agvm_runs.checks import require_known

from .muon import MuonOptimizer
from .muon_split import EXCLUDED, PREDICTION, WHERE, split_parameters

KEYS = ('constructor', 'include', 'exclude', 'qkv')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MuonOptimWrapperConstructor:
    """Splits the parameters for ``MuonOptimizer`` and lets another constructor make the groups.

    Rates, decays and layer decay are the other constructor's; the optimizer cuts each of its groups
    into matrices and rest::

        optim_wrapper = dict(
            type='AGVMOptimWrapper',
            constructor='MuonOptimWrapperConstructor',
            optimizer=dict(type='MuonOptimizer', lr=1e-3, weight_decay=0.05),
            paramwise_cfg=dict(norm_decay_mult=0.0, muon=dict(exclude=['patch_embed'])))

    Args:
        optim_wrapper_cfg: ``optim_wrapper`` without constructor and ``paramwise_cfg``.
        paramwise_cfg: of the other constructor, and ``muon``: ``constructor``, its name, by default
            MMEngine's; ``include``, ``exclude`` and ``qkv`` of
            :func:`agvm_mm.optimizers.muon_split.split_parameters`.

    Raises:
        ValueError: an unknown key or value in ``muon``; the model is cut into shards.
    """

    def __init__(
        self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None
    ) -> None:
        self._paramwise = dict(paramwise_cfg or {})
        self._muon = dict(self._paramwise.pop('muon', None) or {})
        require_known(self._muon, KEYS, WHERE)
        self._constructor = self._muon.pop('constructor', 'DefaultOptimWrapperConstructor')
        self._wrapper = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The optimizer wrapper for ``model``."""
        self._require_muon()
        network = getattr(model, 'module', model)
        _require_whole(model)
        split = split_parameters(network, **self._muon)
        if PREDICTION not in split.reasons.values() and EXCLUDED not in split.reasons.values():
            print_log(
                'Muon: no layer of this model is known as a prediction layer, so Muon steps its '
                f'last layers too; name them in {WHERE}.exclude.',
                logger='current',
                level=logging.WARNING,
            )
        optimizer = dict(self._wrapper['optimizer'], split=split)
        constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(
                type=self._constructor,
                optim_wrapper_cfg=dict(self._wrapper, optimizer=optimizer),
                paramwise_cfg=self._paramwise or None,
            )
        )
        return constructor(model)

    def _require_muon(self) -> None:
        given = self._wrapper['optimizer'].get('type')
        kind = OPTIMIZERS.get(given) if isinstance(given, str) else given
        if not (isinstance(kind, type) and issubclass(kind, MuonOptimizer)):
            raise ValueError(
                f'optim_wrapper.optimizer.type is {given!r}; allowed with '
                "constructor='MuonOptimWrapperConstructor' is 'MuonOptimizer'."
            )


def _require_whole(model: nn.Module) -> None:
    for module in model.modules():
        if 'FullyShardedDataParallel' in (kind.__name__ for kind in type(module).__mro__):
            raise ValueError(
                'optim_wrapper.optimizer is Muon and the model is wrapped in '
                f'{type(module).__name__}, which leaves a rank no whole matrix; use '
                'MMDistributedDataParallel.'
            )
