"""What a table is: recipes at batches, and figures by their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .cell import Cell
from .figures import Duration, Figure, Place
from .recipes import METHODS, Recipe, parse_recipe

Batches = tuple[tuple[int, int], ...]
"""GPUs and images per GPU of each batch."""

OWN: Batches = ()
"""The batch of the recipe alone."""

LARGE = 4
"""Times the recipe's batch from which on a linear learning rate has a cell of its own."""


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        title: what it shows.
        metric: name of the score.
        key: the score's name in MMEngine's logs.
        scale: what the logged value is multiplied by to give the unit of the figures.
        recipes: globs below configs/ of the recipes that belong here, with the batches at which
            they are trained.
        figures: known scores by place; a place without a recipe is quoted alone.
        times: known training times by place.
        notes: what a reader has to know.
    """

    title: str
    metric: str
    key: str
    scale: float
    recipes: Mapping[str, Batches]
    figures: Mapping[Place, Figure] = field(default_factory=dict)
    times: Mapping[Place, Duration] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def cells(self, configs: Path) -> dict[Place, Cell]:
        """The cells whose recipes are in the folder ``configs``, by place.

        A recipe that sets a batch by itself goes before one that has to be rescaled to it.
        """
        found: dict[Place, Cell] = {}
        for pattern, batches in self.recipes.items():
            for recipe in filter(None, map(parse_recipe, sorted(configs.glob(pattern)))):
                for cell in _cells(recipe, batches):
                    place = (recipe.model, cell.method, cell.batch)
                    if place not in found or cell.batch == recipe.batch:
                        found[place] = cell
        return found


def _cells(recipe: Recipe, batches: Batches) -> Iterator[Cell]:
    """One cell a batch, and at large ones another with a linear rate, if that is a method."""
    for gpus, images in batches or ((recipe.gpus, recipe.images),):
        yield Cell(recipe, gpus, images)
        linear = Cell(recipe, gpus, images, linear=True)
        if linear.batch >= LARGE * recipe.batch and linear.method in METHODS:
            yield linear
