"""``clip_grad=dict(type='agc', ...)``: adaptive gradient clipping of a model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agvm_runs.checks import is_number, is_one_of, require, require_known

from ..optimizers.prediction_layers import prediction_layers
from .agvm_setup import require_dense
from .clip_window import WHERE, split_window
from .part import Part, Pass, Run
from .units import GAIN_MODES, UnitView, clip_units_, view_transposed_units, view_units

DEFAULTS = dict(clip_factor=0.01, eps=1e-3, exclude='cls', gain_mode='vector')
TRUST_RATIO = ('lars', 'lamb')
TRANSPOSED = nn.modules.conv._ConvTransposeNd


class _Batch(NamedTuple):
    """Parameters of one device, the module of each unit there, and the modules' units (host)."""

    parameters: list[Tensor]
    views: list[UnitView]
    owners: Tensor
    units: Tensor


class UnitClipPart(Part):
    """Clips every unit's gradient relative to its weight; see :mod:`agvm_mm.parts.units`.

    Args:
        options: ``clip_factor`` and ``eps`` of the equation; ``exclude``: what is not clipped,
            'cls' the weights of classifiers, 'pred' those of all prediction layers, 'none', a
            regular expression that is searched for in parameter names, or a list of these;
            ``gain_mode`` 'vector' or 'element'; the window ``begin``, ``end`` of updates.

    Raises:
        ValueError: an option is unknown or outside its range.
    """

    key = 'clip_grad'
    title = 'clipping by units'
    where = WHERE

    @classmethod
    def from_config(cls, value: Any) -> UnitClipPart | None:
        """The part if the type is 'agc'; other values of ``clip_grad`` are MMEngine's."""
        mine = isinstance(value, Mapping) and is_one_of(value.get('type'), ['agc'])
        return cls({key: value[key] for key in value if key != 'type'}) if mine else None

    def __init__(self, options: Mapping[str, Any]) -> None:
        given, self.window = split_window({'type': 'agc', **options})
        assert given is not None
        del given['type']
        require_known(given, list(DEFAULTS), WHERE)
        self.options: dict[str, Any] = {**DEFAULTS, **given}
        for key in ('clip_factor', 'eps'):
            value = self.options[key]
            require(is_number(value) and value > 0, key, value, 'a positive number', WHERE)
            self.options[key] = float(value)
        mode, exclude = self.options['gain_mode'], self.options['exclude']
        require(is_one_of(mode, GAIN_MODES), 'gain_mode', mode, "'vector' or 'element'", WHERE)
        self._patterns = [exclude] if isinstance(exclude, str) else exclude
        allowed = "'cls', 'pred', 'none', a regular expression or a list of these"
        require(_are_patterns(self._patterns), 'exclude', exclude, allowed, WHERE)

    def bind(self, run: Run) -> None:
        """Divide the parameters into units; log which parameters are not clipped.

        Raises:
            ValueError: gradients are sparse.
        """
        excluded = self._excluded(run.network)
        self._run = run
        self._names = list(dict.fromkeys(run.module_of.values()))
        self._views = self._view_all(run.network, excluded)
        require_dense(run.network, 'adaptive clipping cannot divide into units', self._views)
        self._layout: tuple[int, ...] = ()
        self._batches: list[_Batch] = []
        self._units = torch.zeros(0)  # of every module, on the device of the first parameter
        self._clippable: list[bool] = []
        run.log.say(self._report(excluded))
        names = [kind.__name__ for kind in type(run.optimizer).__mro__]
        if any(name.lower().startswith(TRUST_RATIO) for name in names):
            run.log.say(
                f"{WHERE}.type is 'agc' with {names[0]}, whose trust ratio already bounds every "
                'step by the weight; the authors of adaptive gradient clipping found LARS with '
                'clipping worse than clipping alone.',
                warning=True,
            )

    @contextmanager
    def around_step(self, this: Pass) -> Iterator[None]:
        """Clip inside the window; log the share of each module's units that was clipped."""
        if this.update in self.window:
            groups = self._run.optimizer.param_groups
            parameters = dict.fromkeys(p for group in groups for p in group['params'])
            self._clip([p for p in parameters if p.grad is not None], this.loss_scale())
        yield

    def _clip(self, parameters: Sequence[Tensor], loss_scale: float | Tensor) -> None:
        keys = tuple(map(id, parameters))
        if keys != self._layout:
            self._batches = self._arrange(parameters)
            self._layout = keys
        if not self._batches:
            return
        clipped = self._units.new_zeros(len(self._units))
        for batch in self._batches:
            gradients = [p.grad for p in batch.parameters if p.grad is not None]
            found = clip_units_(
                batch.parameters,
                gradients,
                batch.views,
                self.options['clip_factor'],
                self.options['eps'],
                loss_scale,
            )
            # Whole numbers, so that the order of adding them up changes nothing.
            counts = torch.zeros(len(self._names), dtype=torch.float64, device=found.device)
            counts.index_add_(0, batch.owners, found.double())
            clipped += counts.to(clipped.device, non_blocking=True)
        shares = zip(self._names, (clipped / self._units).unbind(), self._clippable)
        self._run.log.scalars({f'agc/clipped/{name}': share for name, share, has in shares if has})

    def _excluded(self, network: nn.Module) -> set[str]:
        """Names of the parameters that are not clipped."""
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
        chosen = [p for p in parameters if id(p) in self._views]
        devices = list({p.device: None for p in chosen})
        batches = [self._batch([p for p in chosen if p.device == device]) for device in devices]
        if batches:
            units = torch.stack([batch.units for batch in batches]).sum(0)
            self._clippable = (units > 0).tolist()
            self._units = units.to(devices[0], non_blocking=True)
        return batches

    def _batch(self, parameters: list[Tensor]) -> _Batch:
        views = [self._views[id(p)] for p in parameters]
        modules = torch.tensor([self._names.index(self._run.module_of[id(p)]) for p in parameters])
        sizes = torch.tensor([math.prod(view.norm_shape) for view in views])
        units = torch.zeros(len(self._names), dtype=torch.float64)
        units.index_add_(0, modules, sizes.double())
        owners = modules.repeat_interleave(sizes).to(parameters[0].device, non_blocking=True)
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
