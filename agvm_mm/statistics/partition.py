"""Which parameter belongs to which module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# A two-stage detector keeps several heads of different noise under this one child.
NESTED_CHILDREN = ('roi_head',)


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
    model: nn.Module, modules: Mapping[str, Sequence[str]] | None = None
) -> ModulePartition:
    """Assign every trainable parameter of ``model`` to a module.

    Args:
        model: the network itself, not a data-parallel wrapper round it.
        modules: None for the top-level children, with ``roi_head`` split into its heads; or
            ``{name: [prefixes]}``, where the prefix 'neck' covers 'neck.fpn.weight' but not
            'neck2.weight'.

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
    if modules is None:
        owners = {name: default_module(name) for name, _ in named}
    else:
        owners = _assign_by_prefix([name for name, _ in named], modules)
        _require_matches(modules, model)
    return _build(named, owners)


def default_partition(model: nn.Module) -> ModulePartition:
    """The top-level children for a run that scales nothing: the first owner keeps a shared one.

    Raises:
        ValueError: nothing is trainable.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise ValueError('the model has no trainable parameter.')
    return _build(named, {name: default_module(name) for name, _ in named})


def default_module(name: str) -> str:
    """The module of the parameter ``name`` where no modules are given."""
    child, _, rest = name.partition('.')
    if child in NESTED_CHILDREN and '.' in rest:
        return f'{child}.{rest.partition(".")[0]}'
    return child


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
    names = tuple(dict.fromkeys(owners[name] for name, _ in kept))
    positions = {name: i for i, name in enumerate(names)}
    return ModulePartition(
        names=names,
        parameter_names=tuple(name for name, _ in kept),
        parameters=tuple(parameter for _, parameter in kept),
        module_of=torch.tensor(
            [positions[owners[name]] for name, _ in kept], device=kept[0][1].device
        ),
    )
