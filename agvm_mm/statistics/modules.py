"""The modules of a network where a config names none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from torch import nn

ANCHORS = ('backbone', 'image_encoder')
"""What the trunk of a network is called, wherever it is."""

SMALL = 0.005
"""Share of the trainable numbers below which a part alone measures mostly noise."""

# In 'children', a two-stage detector keeps several heads of different noise under this one child.
NESTED_CHILDREN = ('roi_head',)

_SUBNETWORK = re.compile(r'(^|_)(backbone|neck|encoder|decoder|extractor|head)$')
_HEAD = re.compile(r'(^|[_.])head$')


def child_modules(model: nn.Module) -> dict[str, str]:
    """The top-level child of every parameter, with ``roi_head`` split into its children."""
    return {name: _child(name) for name, _ in model.named_parameters()}


def default_modules(model: nn.Module) -> dict[str, str]:
    """The module of every parameter, by its first qualified name.

    A network that only wraps another one, such as a semi-supervised detector, is opened down to
    the children beside the backbone. A head that holds sub-networks with names of their own is
    split into them, and the rest keeps the head's name. What has less than :data:`SMALL` of the
    trainable numbers joins the largest module beside the anchor, unless it is a whole head with
    layers.
    """
    named = dict(model.named_parameters())
    paths = dict(model.named_modules(remove_duplicate=False))
    return _joined({name: _part(name, paths) for name in named}, named, paths)


def find_anchor(names: tuple[str, ...], wanted: str) -> str | None:
    """The module ``wanted``, also as the last word of a longer name; None if it is not unique.

    Without a backbone, the image encoder takes its place.
    """
    for anchor in ANCHORS if wanted == ANCHORS[0] else (wanted,):
        found = [name for name in names if name == anchor or name.endswith(f'.{anchor}')]
        if wanted in found or len(found) == 1:
            return wanted if wanted in found else found[0]
    return None


def _child(name: str) -> str:
    child, _, rest = name.partition('.')
    if child in NESTED_CHILDREN and '.' in rest:
        return f'{child}.{rest.partition(".")[0]}'
    return child


def _part(name: str, paths: Mapping[str, nn.Module]) -> str:
    """The part of a parameter before small ones are joined."""
    words = name.split('.')
    depth = 1
    while depth < len(words) - 1 and _wraps(paths['.'.join(words[: depth - 1])], words[depth - 1]):
        depth += 1
    part = '.'.join(words[:depth])
    if depth < len(words) - 1 and _HEAD.search(part) and _SUBNETWORK.search(words[depth]):
        return f'{part}.{words[depth]}'
    return part


def _wraps(parent: nn.Module, child: str) -> bool:
    """Whether ``child`` holds the backbone that its siblings lack."""
    siblings = dict(parent.named_children())
    if any(anchor in siblings for anchor in ANCHORS):
        return False
    below = siblings[child].named_modules()
    return any(path.rpartition('.')[2] in ANCHORS for path, _ in below)


def _joined(
    owners: dict[str, str], named: Mapping[str, nn.Parameter], paths: Mapping[str, nn.Module]
) -> dict[str, str]:
    """``owners`` with small parts in the largest."""
    sizes: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    for name, parameter in named.items():
        owner, (layer, _, kind) = owners[name], name.rpartition('.')
        if parameter.requires_grad:
            sizes[owner] += parameter.numel()
            layers[owner] += kind == 'weight' and not isinstance(paths[layer], nn.Embedding)
    anchor = find_anchor(tuple(sizes), ANCHORS[0])
    others = [part for part in sizes if part != anchor]
    rests = {part.rpartition('.')[0] for part in sizes}
    heads = {part for part in others if _HEAD.search(part) and layers[part]} - rests
    least = SMALL * sum(sizes.values())
    small = {part for part in others if sizes[part] < least} - heads
    if len(small) == len(others):
        return owners
    largest = max((part for part in others if part not in small), key=lambda part: sizes[part])
    return {name: largest if owner in small else owner for name, owner in owners.items()}
