"""Augmentation that grows with the curriculum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.registry import TRANSFORMS

from .settings import HIGHEST


@TRANSFORMS.register_module()
class GrowingAugment:
    """Applies transforms with the strength of the present stage, 0 to 10.

    A transform with a ``level`` (mmdet's ``Color``, ``Rotate``, ``ShearX`` ... alone or within
    ``RandAugment``) gets the strength, rounded, as its level. Any other is applied with a
    probability of strength / 10. At strength 0 nothing is applied.

    The strength lies in shared memory, so that loader processes that live as long as the run
    (``persistent_workers``) see it change.

    Args:
        transforms: configs of transforms, or transforms.
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = [
            TRANSFORMS.build(item) if isinstance(item, dict) else item for item in transforms
        ]
        self._levelled = [
            [part for part in _parts(item) if hasattr(part, 'level')] for item in self.transforms
        ]
        self._strength = torch.zeros(1).share_memory_()

    @property
    def strength(self) -> float:
        """Strength of the present stage."""
        return float(self._strength)

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength.share_memory_()  # a deep copy of a dataset has lost it
        self._strength.fill_(value)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Transform one image; None where a transform asks for another image."""
        strength = self.strength
        for transform, levelled in zip(self.transforms, self._levelled):
            for part in levelled:
                part.level = round(strength)
            chance = float(strength > 0) if levelled else strength / HIGHEST
            if np.random.random() < chance:
                found = transform(results)
                if found is None:
                    return None
                results = found
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms})'


def _parts(transform: Any) -> Iterator[Any]:
    """A transform and what it is made of."""
    yield transform
    parts = getattr(transform, 'transforms', ())
    for part in parts if isinstance(parts, (list, tuple)) else ():
        yield from _parts(part)


def find_augments(dataset: Any) -> list[GrowingAugment]:
    """Every :class:`GrowingAugment` in the pipelines of a dataset and of those that it wraps."""
    found: list[GrowingAugment] = []
    pipeline = getattr(dataset, 'pipeline', None)
    for transform in pipeline if isinstance(pipeline, (list, tuple)) else [pipeline]:
        found += [part for part in _parts(transform) if isinstance(part, GrowingAugment)]
    for inner in (getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())):
        if inner is not None:
            found += find_augments(inner)
    return found
