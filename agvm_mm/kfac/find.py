"""Which modules of a network K-FAC preconditions, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from ..statistics.partition import covers
from .attention import projections
from .convolution import ConvHelper, TransposedHelper
from .modules import LinearHelper, ModuleHelper, NormHelper
from .settings import WHERE, KFACSettings
from .standardized import SCALES, StandardizedHelper

Make = Callable[[str, Any, int], Sequence[ModuleHelper]]
"""The layers of a module, from its name, itself and ``max_size``."""


def _one(kind: type[ModuleHelper]) -> Make:
    return lambda name, module, max_size: [kind(name, module, max_size)]


# By name, so that a class that only adds padding or the handling of empty inputs, as mmcv's, is
# known too, and one that changes the weight in its forward pass is not; of these packages, or with
# the forward pass of the class that it is derived from.
_PACKAGES = ('torch', 'mmcv', 'mmengine', __name__.partition('.')[0])
_KINDS: dict[str, tuple[type[nn.Module], Make]] = {
    'Linear': (nn.Linear, _one(LinearHelper)),
    'NonDynamicallyQuantizableLinear': (nn.Linear, _one(LinearHelper)),  # of an own attention
    'MultiheadAttention': (nn.MultiheadAttention, projections),
    'Conv1d': (nn.Conv1d, _one(ConvHelper)),
    'Conv2d': (nn.Conv2d, _one(ConvHelper)),
    'Conv3d': (nn.Conv3d, _one(ConvHelper)),
    'Conv2dAdaptivePadding': (nn.Conv2d, _one(ConvHelper)),
    'ConvTranspose1d': (nn.ConvTranspose1d, _one(TransposedHelper)),
    'ConvTranspose2d': (nn.ConvTranspose2d, _one(TransposedHelper)),
    'ConvTranspose3d': (nn.ConvTranspose3d, _one(TransposedHelper)),
    **{name: (nn.Conv2d, _one(StandardizedHelper)) for name in SCALES},
    'BatchNorm1d': (_BatchNorm, _one(NormHelper)),
    'BatchNorm2d': (_BatchNorm, _one(NormHelper)),
    'SyncBatchNorm': (_BatchNorm, _one(NormHelper)),
    '_BatchNormXd': (_BatchNorm, _one(NormHelper)),
    'GroupNorm': (nn.GroupNorm, _one(NormHelper)),
    'LayerNorm': (nn.LayerNorm, _one(NormHelper)),
}


@dataclass
class Found:
    """The modules in the network's order, and the parameters that keep their gradient.

    Attributes:
        helpers: of the modules that are preconditioned.
        left: reason by parameter name.
    """

    helpers: list[ModuleHelper] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def find_layers(network: nn.Module, settings: KFACSettings) -> Found:
    """Divide the trainable parameters into layers and the rest.

    Raises:
        ValueError: a prefix of ``exclude`` matches nothing, or no layer is left.
    """
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    for prefix in settings.exclude:
        if not any(covers(prefix, name) for name in names):
            raise ValueError(
                f'{WHERE}.exclude holds {prefix!r}, which is no trainable parameter and no module '
                'that holds one.'
            )
    uses = Counter(id(p) for module in network.modules() for p in module.parameters(recurse=False))
    found, seen = Found(), set[int]()
    for name, module in network.named_modules():
        rest = {
            f'{name}.{key}' if name else key
            for key, p in module.named_parameters(recurse=False)
            if p.requires_grad
        }
        if id(module) in seen or not (rest or isinstance(module, nn.MultiheadAttention)):
            continue
        reason = _module_reason(module)
        helpers = (
            [] if reason else _KINDS[type(module).__name__][1](name, module, settings.max_size)
        )
        for helper in helpers:
            why = _module_reason(helper.module) or _layer_reason(helper, uses, settings)
            if why is None:
                found.helpers.append(helper)
                seen.add(id(helper.module))
                rest -= set(helper.parameter_names)
            else:  # what belongs to a module within this one is listed with that
                reason = why
        why = reason or f'no weight or bias of {type(module).__name__}'
        found.left.update(dict.fromkeys(sorted(rest), why))
    if not found.helpers:
        raise ValueError(
            f'{WHERE} finds no trainable layer that it knows in {type(network).__name__}; known '
            f'are {", ".join(_KINDS)}: set {WHERE}=None.'
        )
    return found


def _module_reason(module: nn.Module) -> str | None:
    """Why nothing is known of a module's weights; None if something is."""
    if is_parametrized(module) or isinstance(module, ParametrizationList):
        return 'a weight under a parametrization'
    base, _ = _KINDS.get(type(module).__name__, (None, None))
    if base is None or not isinstance(module, base):
        return f'{type(module).__name__} is not known'
    package = type(module).__module__
    if type(module).forward is not base.forward and package.split('.')[0] not in _PACKAGES:
        return f'{type(module).__name__} of {package} is not known'
    return 'a forward method of its own' if 'forward' in vars(module) else None


def _layer_reason(helper: ModuleHelper, uses: Counter[int], settings: KFACSettings) -> str | None:
    """Why a layer keeps its gradient; None if it need not."""
    module, parameters = helper.module, helper.parameters
    for key in helper.keys:
        if key not in module._parameters:
            origin = [name for name in module._parameters if name.startswith(f'{key}_')]
            return f'its {key} is computed from {", ".join(origin) or "no parameter"}'
    names = helper.parameter_names
    if any(covers(prefix, name) for prefix in settings.exclude for name in names):
        return 'excluded'
    if any(uses[id(p)] > 1 for p in parameters):
        return 'a parameter of several modules'
    if not all(p.requires_grad for p in parameters):
        return 'frozen in part'
    if isinstance(helper, NormHelper):
        return _norm_reason(module, settings)
    grouped = isinstance(helper, ConvHelper) and helper.groups > 1
    return 'grouped=False' if grouped and not settings.grouped else None


def _norm_reason(module: nn.Module, settings: KFACSettings) -> str | None:
    if not settings.norms:
        return 'norms=False'
    if module.bias is None or getattr(module, 'weight', None) is None:
        return 'scale without shift'
    return None if module.weight.ndim == 1 else 'a scale of several dimensions'
