"""Which modules of a network K-FAC preconditions, and why not the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from ..statistics.partition import covers
from .modules import ConvHelper, LinearHelper, ModuleHelper, NormHelper
from .settings import WHERE, KFACSettings

# By name, so that a class that only adds the handling of empty inputs, as mmcv's, is known too,
# and one that changes the weight in its forward pass is not; of these packages, or with the forward
# pass of the class that it is derived from.
_PACKAGES = ('torch', 'mmcv', 'mmengine')
_KINDS: dict[str, tuple[type[nn.Module], type[ModuleHelper]]] = {
    'Linear': (nn.Linear, LinearHelper),
    'Conv2d': (nn.Conv2d, ConvHelper),
    'BatchNorm1d': (_BatchNorm, NormHelper),
    'BatchNorm2d': (_BatchNorm, NormHelper),
    'SyncBatchNorm': (_BatchNorm, NormHelper),
    '_BatchNormXd': (_BatchNorm, NormHelper),
    'GroupNorm': (nn.GroupNorm, NormHelper),
    'LayerNorm': (nn.LayerNorm, NormHelper),
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
    found = Found()
    for name, module in network.named_modules():
        own = {
            f'{name}.{key}' if name else key: p
            for key, p in module.named_parameters(recurse=False)
            if p.requires_grad
        }
        if not own:
            continue
        reason = _reason(module, own, uses, settings)
        if reason is None:
            kind = _KINDS[type(module).__name__][1]
            found.helpers.append(kind(name, module, settings.max_size))
        else:
            found.left.update(dict.fromkeys(own, reason))
    if not found.helpers:
        raise ValueError(
            f'{WHERE} finds no trainable layer that it knows in {type(network).__name__}; known '
            f'are {", ".join(_KINDS)}: set {WHERE}=None.'
        )
    return found


def _reason(
    module: nn.Module,
    own: dict[str, nn.Parameter],
    uses: Counter[int],
    settings: KFACSettings,
) -> str | None:
    """Why a module keeps its gradient; None if it need not."""
    if is_parametrized(module) or isinstance(module, ParametrizationList):
        return 'a weight under a parametrization'
    base, kind = _KINDS.get(type(module).__name__, (nn.Module, None))
    if kind is None or not isinstance(module, base):
        return f'{type(module).__name__} is not known'
    package = type(module).__module__
    if type(module).forward is not base.forward and package.split('.')[0] not in _PACKAGES:
        return f'{type(module).__name__} of {package} is not known'
    if 'forward' in vars(module):
        return 'a forward method of its own'
    for key in ('weight', 'bias'):
        if getattr(module, key, None) is not None and key not in module._parameters:
            origin = [name for name in module._parameters if name.startswith(f'{key}_')]
            return f'a {key} computed from {", ".join(origin) or "no parameter"}'
    if any(covers(prefix, name) for prefix in settings.exclude for name in own):
        return 'excluded'
    if any(uses[id(p)] > 1 for p in own.values()):
        return 'a parameter of several modules'
    bias = getattr(module, 'bias', None)
    if not module.weight.requires_grad or (bias is not None and not bias.requires_grad):
        return 'frozen in part'
    if kind is NormHelper:
        return _norm_reason(module, settings)
    if isinstance(module, nn.Conv2d):
        return _conv_reason(module, settings)
    return None


def _norm_reason(module: nn.Module, settings: KFACSettings) -> str | None:
    if not settings.norms:
        return 'norms=False'
    if module.bias is None or getattr(module, 'weight', None) is None:
        return 'scale without shift'
    return None if module.weight.ndim == 1 else 'a scale of several dimensions'


def _conv_reason(module: nn.Conv2d, settings: KFACSettings) -> str | None:
    if module.groups > 1 and not settings.grouped:
        return 'grouped=False'
    if module.padding_mode != 'zeros' or isinstance(module.padding, str):
        return f'padding {module.padding_mode!r}, {module.padding!r}'
    return None
