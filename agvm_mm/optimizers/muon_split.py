"""Which parameters of a network Muon steps, and how their weights are read as matrices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from agvm_runs.checks import any_of, is_one_of, require

from .prediction_layers import prediction_layers

WHERE = 'optim_wrapper.paramwise_cfg.muon'
QKV = ('whole', 'projection', 'head')
FUSED = re.compile(r'qkv(_proj)?')
OFFSETS = re.compile(r'(\w+_)?offsets?(_\w+)?|reference_points(_fc)?')
ATTENTION = ('in_proj_weight', 'q_proj_weight', 'k_proj_weight', 'v_proj_weight')

SMALL = 'fewer than two dimensions'
PREDICTION = 'prediction layers'
OFFSET = 'deformable offsets and reference points'
TABLE = 'embeddings, tables, gains and layers of unknown kinds'
EXCLUDED = 'excluded by a pattern'


class Layout(NamedTuple):
    """How a weight is read as matrices.

    Args:
        blocks: equal parts of the first dimension, each a matrix of its own, flattened to two
            dimensions: the groups of a convolution, the heads of a projection.
        transposed: whether rows are inputs, as in transposed convolutions.
    """

    blocks: int = 1
    transposed: bool = False


@dataclass(frozen=True)
class MuonSplit:
    """The parameters of one network by who steps them.

    Args:
        layouts: of Muon's parameters, by ``id(parameter)``.
        names: of all parameters, by ``id(parameter)``.
        reasons: why the others are not Muon's, by ``id(parameter)``.
    """

    layouts: Mapping[int, Layout]
    names: Mapping[int, str]
    reasons: Mapping[int, str]

    def report(self, parameters: Sequence[Tensor], rest: str) -> str:
        """The split of those ``parameters`` that are trained, for the log.

        Args:
            parameters: of the optimizer.
            rest: name of the rule that steps what Muon does not.
        """
        trained = [p for p in parameters if p.requires_grad]
        muon = [p for p in trained if id(p) in self.layouts]
        others = [p for p in trained if id(p) not in self.layouts]
        matrices = sum(self.layouts[id(p)].blocks for p in muon)
        lines = [
            f'Muon: {len(muon)} tensors, {_numbers(muon):,} parameters in {matrices} matrices; '
            f'{rest}: {len(others)} tensors, {_numbers(others):,} parameters'
        ]
        for reason in (SMALL, PREDICTION, OFFSET, TABLE, EXCLUDED):
            found = [p for p in others if self.reasons[id(p)] == reason]
            names = [self.names[id(p)] for p in found if p.ndim > 1]
            if found:
                listed = f': {", ".join(names)}' if names else ''
                lines.append(f'  {rest}, {reason}, {len(found)} tensors{listed}')
        return '\n'.join(lines)


def split_parameters(
    model: nn.Module,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    qkv: str = 'whole',
) -> MuonSplit:
    """Decides for every parameter of ``model`` whether Muon steps it.

    Muon steps the weights of linear layers, of convolutions (deformable and transposed ones too)
    and the projections of ``nn.MultiheadAttention``. The other rule steps prediction layers (see
    :mod:`.prediction_layers`), the layers that predict deformable offsets and
    reference points, and everything that is no such weight: biases, norms, gains, embeddings,
    positional tables. A parameter that is used in two places is Muon's if it is so in both.

    Args:
        model: the bare network.
        include: Regular expressions, searched for in parameter names: Muon's in any case, as one
            matrix unless the rule knows better.
        exclude: Regular expressions of what the other rule steps in any case.
        qkv: Fused projections of queries, keys and values as one matrix ('whole'), one for each
            of the three ('projection') or one for each of their heads ('head').

    Raises:
        ValueError: An expression matches no parameter, or a parameter that cannot be Muon's; a
            parameter is included and excluded; ``qkv`` fits no layer.
    """
    require(is_one_of(qkv, QKV), 'qkv', qkv, any_of(QKV), WHERE)
    uses = list(_uses(model))
    names = {id(p): name for name, p, _, _ in reversed(uses)}
    forced = _matching('include', include, uses), _matching('exclude', exclude, uses)
    _require_apart(*forced, uses)
    predictions = set(prediction_layers(model, regression=True))
    layouts: dict[int, Layout] = {}
    reasons: dict[int, str] = {}
    fused = 0
    for name, parameter, module, parent in uses:
        key = id(parameter)
        reason = _reason(name, parameter, module, predictions)
        if key in forced[1]:
            reason = EXCLUDED
        elif key in forced[0]:
            reason = None
        if reason is not None:
            reasons.setdefault(key, reason)
            continue
        heads = _heads(name, module, parent, qkv)
        fused += heads > 1
        layouts[key] = _layout(name, parameter, module, heads)
    if qkv != 'whole':
        require(bool(fused), 'qkv', qkv, "'whole': this model has no fused projection", WHERE)
    layouts = {key: layout for key, layout in layouts.items() if key not in reasons}
    return MuonSplit(layouts, names, reasons)


class _Use(NamedTuple):
    name: str
    parameter: nn.Parameter
    module: nn.Module
    parent: nn.Module


def _uses(model: nn.Module) -> Iterator[_Use]:
    """Every place of every parameter, shared ones in each."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, module in modules.items():
        parent = modules[path.rpartition('.')[0]]
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield _Use(f'{path}.{name}' if path else name, parameter, module, parent)


def _reason(
    name: str, parameter: nn.Parameter, module: nn.Module, predictions: set[str]
) -> str | None:
    """Why Muon does not step this parameter; None if it does."""
    path, _, own = name.rpartition('.')
    if parameter.ndim < 2:
        return SMALL
    if path in predictions:
        return PREDICTION
    if OFFSETS.fullmatch(path.rpartition('.')[2]):
        return OFFSET
    hidden = own == 'weight' and (isinstance(module, nn.Linear) or _is_convolution(module))
    attention = own in ATTENTION and isinstance(module, nn.MultiheadAttention)
    return None if hidden or attention else TABLE


def _is_convolution(module: nn.Module) -> bool:
    # mmcv's deformable convolutions are no _ConvNd.
    return hasattr(module, 'kernel_size') and hasattr(module, 'groups')


def _heads(name: str, module: nn.Module, parent: nn.Module, qkv: str) -> int:
    """Into how many parts of rows ``qkv`` cuts this weight."""
    path, _, own = name.rpartition('.')
    attention = module if own == 'in_proj_weight' else parent
    if qkv == 'whole' or not (own == 'in_proj_weight' or FUSED.fullmatch(path.rpartition('.')[2])):
        return 1
    if qkv == 'projection':
        return 3
    count = getattr(attention, 'num_heads', None)
    require(
        isinstance(count, int), 'qkv', qkv, f"another than 'head': {name!r} has no num_heads", WHERE
    )
    assert isinstance(count, int)
    return 3 * count


def _layout(name: str, parameter: nn.Parameter, module: nn.Module, heads: int) -> Layout:
    groups = module.groups if _is_convolution(module) else 1
    blocks = heads if heads > 1 else int(groups)  # type: ignore[arg-type]
    if len(parameter) % blocks:
        raise ValueError(
            f'{WHERE}.qkv cuts {name!r} into {blocks} parts, and its {len(parameter)} rows cannot '
            "be; allowed is qkv='whole'."
        )
    return Layout(blocks, isinstance(module, nn.modules.conv._ConvTransposeNd))


def _matching(key: str, patterns: Sequence[str], uses: Sequence[_Use]) -> set[int]:
    listed = [patterns] if isinstance(patterns, str) else patterns
    found: set[int] = set()
    for pattern in listed:
        hits = {id(use.parameter) for use in uses if re.search(pattern, use.name)}
        require(bool(hits), key, pattern, 'what a parameter name matches', WHERE)
        found |= hits
    return found


def _require_apart(included: set[int], excluded: set[int], uses: Sequence[_Use]) -> None:
    for name, parameter, _, _ in uses:
        if id(parameter) in included & excluded:
            raise ValueError(f'{name!r} matches both {WHERE}.include and {WHERE}.exclude.')
        if id(parameter) in included and parameter.ndim < 2:
            raise ValueError(
                f'{name!r} matches {WHERE}.include and has {parameter.ndim} dimensions; Muon takes '
                'two and more.'
            )


def _numbers(parameters: Sequence[Tensor]) -> int:
    return sum(p.numel() for p in parameters)
