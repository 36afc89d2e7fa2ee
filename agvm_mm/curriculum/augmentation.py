"""Augmentation that grows with the curriculum."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.registry import TRANSFORMS

from agvm_runs.checks import require

from .settings import HIGHEST

MIXED = 'mix_results'
"""Key under which a data set gives a transform the images that it mixes in."""


class _SharedStrength:
    """A number in shared memory, which a copy of its holder shares too."""

    def __init__(self) -> None:
        self.value = torch.zeros(1).share_memory_()

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharedStrength:
        return self


@functools.cache
def _shared_strength() -> _SharedStrength:
    """The one strength of this process."""
    return _SharedStrength()


def set_strength(value: float) -> None:
    """Set the strength of every :class:`GrowingAugment` of this process and of its loaders."""
    _shared_strength().value.fill_(value)


@TRANSFORMS.register_module()
class GrowingAugment:
    """Applies transforms with the strength of the present stage, 0 to 10.

    A transform with a ``level`` (mmdet's ``Color``, ``Rotate``, ``ShearX`` ... alone or within
    ``RandAugment``, ``RandomApply`` ...) gets the strength, rounded, as its level. Any other is
    applied with a probability of strength / 10. At strength 0 nothing is applied.

    All instances of a process share one strength, wherever they are and whenever they are built.
    It is in shared memory, so loader processes that live as long as the run
    (``persistent_workers``) see it change.

    Transforms that mix several images (``Mosaic``, ``MixUp`` ...) work within
    ``MultiImageMixDataset``, which asks ``get_indexes`` (mmdet) or ``get_indices`` (mmseg) for the
    images.

    Args:
        transforms: configs of transforms, or transforms.

    Raises:
        ValueError: ``transforms`` is not a list of them.
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        require(
            isinstance(transforms, (list, tuple))
            and all(isinstance(item, Mapping) or callable(item) for item in transforms),
            'transforms',
            transforms,
            'a list of dicts or transforms',
            type(self).__name__,
        )
        self.transforms = [
            TRANSFORMS.build(item) if isinstance(item, Mapping) else item for item in transforms
        ]
        self._levelled = [
            [part for part in _parts(item, set()) if hasattr(part, 'level')]
            for item in self.transforms
        ]
        self._shared = _shared_strength()
        self._drawn: list[bool] = []
        self._images: list[int | None] = []  # of each transform; None where it mixes none

    @property
    def strength(self) -> float:
        """Strength of the present stage."""
        return float(self._shared.value)

    @strength.setter
    def strength(self, value: float) -> None:
        self._shared.value.fill_(value)

    @property
    def get_indexes(self) -> Callable[[Any], list[int]]:
        """Draw, for mmdet, which transforms to apply and which images they mix in."""
        return self._mixing('get_indexes')

    @property
    def get_indices(self) -> Callable[[Any], list[int]]:
        """The same for mmseg."""
        return self._mixing('get_indices')

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Transform one image; None where a transform asks for another image."""
        if MIXED in results and self._images:  # drawn when the data set asked for these images
            drawn, numbers = self._drawn, self._images
        else:
            drawn, numbers = self._draw(), [None] * len(self.transforms)
        images = iter(results.pop(MIXED, ()))
        for transform, applied, number in zip(self.transforms, drawn, numbers):
            if not applied:
                continue
            if number is not None:
                results[MIXED] = list(islice(images, number))
            found = transform(results)
            if found is None:
                return None
            results = found
            results.pop(MIXED, None)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms})'

    def _draw(self) -> list[bool]:
        """Set the levels, and draw for each transform whether it is applied."""
        strength = self.strength
        drawn = []
        for levelled in self._levelled:
            for part in levelled:
                part.level = round(strength)
            chance = float(strength > 0) if levelled else strength / HIGHEST
            drawn.append(np.random.random() < chance)
        return drawn

    def _mixing(self, name: str) -> Callable[[Any], list[int]]:
        """The method ``name``; no attribute where no transform has it, for data sets look."""
        if not any(hasattr(transform, name) for transform in self.transforms):
            raise AttributeError(name)
        return functools.partial(self._choose, name)

    def _choose(self, name: str, dataset: Any) -> list[int]:
        self._drawn, self._images = self._draw(), []
        chosen: list[int] = []
        for transform, applied in zip(self.transforms, self._drawn):
            if not (applied and hasattr(transform, name)):
                self._images.append(None)
                continue
            found = getattr(transform, name)(dataset)
            indexes = list(found) if isinstance(found, Sequence) else [found]
            self._images.append(len(indexes))
            chosen += indexes
        return chosen


def _parts(item: Any, seen: set[int]) -> Iterator[Any]:
    """A transform and what it holds: in lists, tuples and dicts, under any name, at any depth."""
    if id(item) in seen:
        return
    seen.add(id(item))
    if isinstance(item, Mapping):
        held: Any = item.values()
    elif isinstance(item, (list, tuple)):
        held = item
    elif callable(item) and not isinstance(item, type):
        yield item
        held = getattr(item, '__dict__', {}).values()
    else:
        return
    for value in list(held):
        yield from _parts(value, seen)
