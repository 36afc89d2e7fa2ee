"""A cell of a table: a recipe at one batch, on the GPUs that the table names."""

from __future__ import annotations

from dataclasses import dataclass

from .recipes import Recipe

LINEAR = '-linear'


@dataclass(frozen=True)
class Cell:
    """A recipe at the batch GPUs x images.

    Args:
        recipe: the recipe.
        gpus: GPUs of the run.
        images: images per GPU.
        linear: whether the learning rate is linear in the batch, instead of by the recipe's rule.
    """

    recipe: Recipe
    gpus: int
    images: int
    linear: bool = False

    @property
    def batch(self) -> int:
        """Images of one optimizer update."""
        return self.gpus * self.images

    @property
    def method(self) -> str:
        """The method in the tables: the recipe's, or that with a linear learning rate."""
        return self.recipe.method + (LINEAR if self.linear else '')

    @property
    def name(self) -> str:
        """Name of the work directory before the seed."""
        if self.batch == self.recipe.batch:
            return self.recipe.path.stem
        return f'{self.recipe.path.stem}_batch{self.batch}{LINEAR if self.linear else ""}'

    @property
    def options(self) -> str:
        """Options of tools/train.py that make this cell of its recipe."""
        options = []
        if self.batch != self.recipe.batch:
            rule = '--scale-rule linear' if self.linear else '--auto-scale-lr'
            options += [f'--total-batch-size {self.batch}', rule]
        if self.images != self.recipe.images:
            options.append(f'--cfg-options train_dataloader.batch_size={self.images}')
        return ''.join(f' {option}' for option in options)
