"""What a table is: recipes by a pattern of their names, figures by their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .figures import Duration, Figure
from .recipes import Recipe, parse_recipe

Place = tuple[str, str, int]
"""Model, method, batch."""


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        title: what it shows.
        metric: name of the score.
        key: the score's name in MMEngine's logs.
        scale: what the logged value is multiplied by to give the unit of the figures.
        patterns: globs below configs/ of the recipes that belong here.
        figures: known scores by place; a place without a recipe is quoted alone.
        times: known training times by place.
        notes: what a reader has to know.
    """

    title: str
    metric: str
    key: str
    scale: float
    patterns: tuple[str, ...]
    figures: Mapping[Place, Figure] = field(default_factory=dict)
    times: Mapping[Place, Duration] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def recipes(self, configs: Path) -> dict[Place, Recipe]:
        """The recipes of the table that are in the folder ``configs``, by place."""
        found = {path for pattern in self.patterns for path in configs.glob(pattern)}
        recipes = filter(None, map(parse_recipe, sorted(found)))
        return {(one.model, one.method, one.batch): one for one in recipes}
