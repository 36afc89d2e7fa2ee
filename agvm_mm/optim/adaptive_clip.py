"""``clip_grad=dict(type='agc', ...)``: adaptive gradient clipping of a model."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.logging import MessageHub, print_log
from torch import Tensor, nn
from torch.optim import Optimizer

from ..checks import is_number, is_one_of, require, require_known
from ..statistics import ModulePartition
from .agc import GAIN_MODES, UnitView, clip_units_, view_transposed_units, view_units
from .binding import module_names, unwrapped
from .prediction_layers import prediction_layers

WHERE = 'optim_wrapper.clip_grad'
DEFAULTS = dict(clip_factor=0.01, eps=1e-3, exclude='cls', gain_mode='vector')
TRUST_RATIO = ('lars', 'lamb')
TRANSPOSED = nn.modules.conv._ConvTransposeNd


class _Batch(NamedTuple):
    """Parameters of one device, the module of each of their units, and the modules' units."""

    parameters: list[Tensor]
    views: list[UnitView]
    owners: Tensor
    units: Tensor


class AdaptiveClip:
    """Clips every unit's gradient relative to its weight; see :mod:`agvm_mm.optim.agc`.

    It stands where ``clip_grad_norm_`` stands in MMEngine's wrappers: after a gradient's
    measurement and unscaling, before the step.

    Args:
        options: ``clip_factor`` and ``eps`` of the equation; ``exclude``: what is left alone,
            'cls' the weights of classifiers, 'pred' those of all prediction layers, 'none', a
            regular expression that is searched for in parameter names, or a list of these;
            ``gain_mode`` 'vector' or 'element'.

    Raises:
        ValueError: an option is unknown or outside its range.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        require_known(options, list(DEFAULTS), WHERE)
        self.options: dict[str, Any] = {**DEFAULTS, **options}
        for key in ('clip_factor', 'eps'):
            value = self.options[key]
            require(is_number(value) and value > 0, key, value, 'a positive number', WHERE)
            self.options[key] = float(value)
        mode, exclude = self.options['gain_mode'], self.options['exclude']
        require(is_one_of(mode, GAIN_MODES), 'gain_mode', mode, "'vector' or 'element'", WHERE)
        self._patterns = [exclude] if isinstance(exclude, str) else exclude
        allowed = "'cls', 'pred', 'none', a regular expression or a list of these"
        require(_are_patterns(self._patterns), 'exclude', exclude, allowed, WHERE)
        self._views: dict[int, UnitView] = {}
        self._modules: dict[int, str] = {}
        self._names: list[str] = []
        self._message_hub: MessageHub | None = None
        self._layout: tuple[int, ...] = ()
        self._batches: list[_Batch] = []

    def bind(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        message_hub: MessageHub,
        partition: ModulePartition | None = None,
    ) -> None:
        """Learn the units of ``model``; refusals and the report happen here.

        Args:
            model: as the runner holds it.
            optimizer: what trains it.
            message_hub: where the fractions are logged.
            partition: AGVM's modules; None for the model's top-level children.

        Raises:
            ValueError: ranks hold shards of the gradients; a regular expression matches nothing.
        """
        _require_whole_gradients(model)
        network = unwrapped(model)
        excluded = self._excluded(network)
        self._modules = module_names(network, partition)
        self._names = list(dict.fromkeys(self._modules.values()))
        self._views = self._view_all(network, excluded)
        self._message_hub = message_hub
        self._layout = ()
        print_log(self._report(excluded), logger='current')
        names = [kind.__name__ for kind in type(optimizer).__mro__]
        if any(name.lower().startswith(TRUST_RATIO) for name in names):
            print_log(
                f"{WHERE}.type is 'agc' with {names[0]}, whose trust ratio bounds every step by "
                'the weight already; the authors of adaptive gradient clipping found LARS with it '
                'worse than clipping alone.',
                logger='current',
                level=logging.WARNING,
            )

    def __call__(self, parameters: Sequence[Tensor], **options: Any) -> None:
        """Clip the gradients of ``parameters`` and log which part of each module's units it met.

        Args:
            parameters: those with a gradient.
            **options: what MMEngine's wrapper passes on; they are :attr:`options`.

        Raises:
            RuntimeError: the model was not seen before, or lacks one of the parameters.
        """
        keys = tuple(map(id, parameters))
        if keys != self._layout:
            self._batches = self._arrange(parameters)
            self._layout = keys
        clipped, units = torch.zeros(len(self._names)), torch.zeros(len(self._names))
        for batch in self._batches:
            gradients = [p.grad for p in batch.parameters if p.grad is not None]
            found = clip_units_(
                batch.parameters,
                gradients,
                batch.views,
                self.options['clip_factor'],
                self.options['eps'],
            )
            counts = torch.zeros(len(self._names), device=found.device)
            clipped += counts.index_add_(0, batch.owners, found.float()).cpu()
            units += batch.units
        assert self._message_hub is not None
        for name, count, total in zip(self._names, clipped.tolist(), units.tolist()):
            if total:
                self._message_hub.update_scalar(f'train/agc/clipped/{name}', count / total)

    def _excluded(self, network: nn.Module) -> set[str]:
        """Names of the parameters that are left alone."""
        found: set[str] = set()
        for pattern in self._patterns:
            if pattern in ('cls', 'pred'):
                layers = prediction_layers(network, regression=pattern == 'pred')
                found.update(f'{layer}.weight' for layer in layers)
            elif pattern != 'none':
                names = [n for n, _ in network.named_parameters() if re.search(pattern, n)]
                require(bool(names), 'exclude', pattern, 'what a parameter name matches', WHERE)
                found.update(names)
        return found

    def _view_all(self, network: nn.Module, excluded: set[str]) -> dict[int, UnitView]:
        """The units of every parameter that is clipped, by ``id(parameter)``."""
        mode = self.options['gain_mode']
        views = {
            id(p): view_units(p.shape, mode)
            for name, p in network.named_parameters()
            if name not in excluded
        }
        for layer in network.modules():
            if isinstance(layer, TRANSPOSED) and id(layer.weight) in views:
                views[id(layer.weight)] = view_transposed_units(layer.weight.shape, layer.groups)
        return views

    def _report(self, excluded: set[str]) -> str:
        names = ', '.join(sorted(excluded)) or 'none'
        return (
            f'AGC: clip_factor {self.options["clip_factor"]}, eps {self.options["eps"]}, '
            f'{len(self._views)} tensors; left alone (exclude={self.options["exclude"]!r}): {names}'
        )

    def _arrange(self, parameters: Sequence[Tensor]) -> list[_Batch]:
        if any(id(p) not in self._modules for p in parameters):
            raise RuntimeError(
                f"{WHERE}.type is 'agc' and the optimizer has a parameter of a model that was not "
                'seen: run the forward pass inside `with optim_wrapper.optim_context(model)`, as '
                "MMEngine's runners do."
            )
        chosen = [p for p in parameters if id(p) in self._views]
        return [
            self._batch([p for p in chosen if p.device == device])
            for device in {p.device: None for p in chosen}
        ]

    def _batch(self, parameters: list[Tensor]) -> _Batch:
        views = [self._views[id(p)] for p in parameters]
        modules = torch.tensor([self._names.index(self._modules[id(p)]) for p in parameters])
        sizes = torch.tensor([math.prod(view.norm_shape) for view in views])
        units = torch.zeros(len(self._names)).index_add_(0, modules, sizes.float())
        owners = modules.repeat_interleave(sizes).to(parameters[0].device)
        return _Batch(parameters, views, owners, units)


def _are_patterns(values: Any) -> bool:
    if not isinstance(values, (list, tuple)):
        return False
    return all(isinstance(value, str) and value and _compiles(value) for value in values)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _require_whole_gradients(model: nn.Module) -> None:
    """Refuse parameters whose units are cut across ranks or flattened."""
    for module in model.modules():
        if any(kind.__name__ == 'FullyShardedDataParallel' for kind in type(module).__mro__):
            kind = 'FullyShardedDataParallel'
            break
    else:
        if not any(hasattr(p, 'placements') for p in model.parameters()):
            return
        kind = 'DTensor parameters'
    raise ValueError(
        f"{WHERE}.type is 'agc' and the model has {kind}, so a rank holds no whole unit of a "
        'weight; use MMDistributedDataParallel, or clip_grad=dict(max_norm=...).'
    )
