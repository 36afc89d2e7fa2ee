"""Which parameter belongs to which module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .modules import child_modules, default_modules, find_anchor

CHILDREN = 'children'
DEFAULT = 'default'


@dataclass(frozen=True)
class ModulePartition:
    """Trainable parameters, each in exactly one module.

    Args:
        names: the M module names, in the model's order.
        parameter_names: the P qualified parameter names.
        parameters: the P parameters.
        module_of: shape (P,), int64, index of each parameter's module; on their device.
    """

    names: tuple[str, ...]
    parameter_names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    module_of: Tensor

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Position of the module ``name``."""
        return self.names.index(name)

    def anchor(self, wanted: str) -> str | None:
        """The module that a config calls ``wanted``; see :func:`.modules.find_anchor`."""
        return find_anchor(self.names, wanted)

    def sizes(self) -> list[int]:
        """Trainable numbers in each module."""
        sizes = [0] * len(self.names)
        for module, parameter in zip(self.module_of.tolist(), self.parameters):
            sizes[module] += parameter.numel()
        return sizes

    def sum(self, values: Tensor) -> Tensor:
        """Add values of parameters, shape (P,), up to values of modules, shape (M,)."""
        # index_add_ adds in any order on a GPU, and a resume would not be bit for bit the same.
        modules = torch.arange(len(self.names), device=values.device)[:, None]
        return torch.where(self.module_of == modules, values, 0).sum(1)


def partition_parameters(
    model: nn.Module, modules: Mapping[str, Sequence[str]] | str | None = None
) -> ModulePartition:
    """Assign every trainable parameter of ``model`` to a module.

    Where ``modules`` names a rule, a parameter that modules share belongs to the first of them.

    Args:
        model: the network itself, not a data-parallel wrapper round it.
        modules: None or 'default' for :func:`.modules.default_modules`, 'children' for
            :func:`.modules.child_modules`; or ``{name: [prefixes]}``, where the prefix 'neck'
            covers 'neck.fpn.weight' but not 'neck2.weight'.

    Raises:
        ValueError: a prefix matches nothing; a parameter is in no module or in two; nothing is
            trainable; a parameter is complex.
    """
    named = [
        (name, parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.requires_grad
    ]
    if not named:
        raise ValueError('the model has no trainable parameter: AGVM has nothing to modulate.')
    _require_real(named)
    if modules is None or isinstance(modules, str):
        owners = (child_modules if modules == CHILDREN else default_modules)(model)
        named = [(name, parameter) for name, parameter in named if name in owners]
    else:
        owners = _assign_by_prefix([name for name, _ in named], modules)
        _require_matches(modules, model)
    return _build(named, owners)


def default_partition(model: nn.Module) -> ModulePartition:
    """The default modules for a run that scales nothing, where a parameter may be complex.

    Raises:
        ValueError: nothing is trainable.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise ValueError('the model has no trainable parameter.')
    return _build(named, default_modules(model))


def covers(prefix: str, name: str) -> bool:
    """Whether the parameter ``name`` is ``prefix`` or below it: 'neck' holds no 'neck2.weight'."""
    prefix = prefix.rstrip('.')
    return name == prefix or name.startswith(prefix + '.')


def _ancestors(name: str) -> Iterator[str]:
    """The prefixes that cover the parameter ``name``, itself the last."""
    end = name.find('.')
    while end >= 0:
        yield name[:end]
        end = name.find('.', end + 1)
    yield name


def _require_real(named: Iterable[tuple[str, nn.Parameter]]) -> None:
    for name, parameter in named:
        if parameter.is_complex():
            raise ValueError(
                f'the trainable parameter {name!r} is complex ({parameter.dtype}) and AGVM '
                'measures real gradients: make its real view (torch.view_as_real) the parameter, '
                'freeze it, or set optim_wrapper.agvm=None.'
            )


def _assign_by_prefix(names: Iterable[str], modules: Mapping[str, Sequence[str]]) -> dict[str, str]:
    covering: dict[str, dict[str, None]] = {}  # modules by prefix, each once, in their order
    for module, prefixes in modules.items():
        for prefix in prefixes:
            covering.setdefault(prefix.rstrip('.'), {})[module] = None
    owners = {}
    for name in names:
        found = list(dict.fromkeys(m for p in _ancestors(name) for m in covering.get(p, ())))
        if len(found) != 1:
            what = 'no module' if not found else f'several modules ({", ".join(found)})'
            raise ValueError(
                f'the trainable parameter {name!r} is in {what}: every one must be in exactly one '
                'entry of optim_wrapper.agvm.modules.'
            )
        owners[name] = found[0]
    return owners


def _require_matches(modules: Mapping[str, Sequence[str]], model: nn.Module) -> None:
    every = {
        p for name, _ in model.named_parameters(remove_duplicate=False) for p in _ancestors(name)
    }
    for module, prefixes in modules.items():
        for prefix in prefixes:
            if prefix.rstrip('.') not in every:
                children = ', '.join(name for name, _ in model.named_children())
                raise ValueError(
                    f'optim_wrapper.agvm.modules[{module!r}] has the prefix {prefix!r}, which '
                    f'matches no parameter; the top-level children are: {children}.'
                )


def _build(named: Sequence[tuple[str, nn.Parameter]], owners: Mapping[str, str]) -> ModulePartition:
    first: dict[int, str] = {}
    kept: list[tuple[str, nn.Parameter]] = []
    for name, parameter in named:
        other = first.setdefault(id(parameter), name)
        if other == name:
            kept.append((name, parameter))
        elif owners[other] != owners[name]:
            raise ValueError(
                f'the parameter {other!r} is shared with {name!r}, so it is in two modules '
                f'({owners[other]}, {owners[name]}): put both under one name in '
                'optim_wrapper.agvm.modules.'
            )
    found = dict.fromkeys(owners[name] for name, _ in kept)
    own = dict.fromkeys(owners[name] for name, _ in kept if covers(owners[name], name))
    names = tuple(own | found)  # a module is listed where it is, not where another part joined it
    positions = {name: i for i, name in enumerate(names)}
    return ModulePartition(
        names=names,
        parameter_names=tuple(name for name, _ in kept),
        parameters=tuple(parameter for _, parameter in kept),
        module_of=torch.tensor(
            [positions[owners[name]] for name, _ in kept], device=kept[0][1].device
        ),
    )
