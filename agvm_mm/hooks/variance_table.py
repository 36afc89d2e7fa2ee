"""A table of the modules, their gradient variance and their learning rates."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from agvm_runs.checks import is_count, require

from ..parts import AGVMPart
from ..parts.report import ModuleRow
from ..wrappers import PartsMixin


@HOOKS.register_module()
class VarianceTableHook(Hook):
    """Prints, after every ``interval`` epochs and at the end, one row a module.

    Columns: trainable parameters; phi, the averaged normalised variance; the noise scale in
    images; the scale; the learning rate of the coming step.

    Args:
        interval: epochs between two tables; None for the end of training alone.

    Raises:
        ValueError: ``interval`` is neither.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int | None = None) -> None:
        allowed = 'None or a whole number of epochs, at least 1'
        ok = interval is None or is_count(interval, 1)
        require(ok, 'interval', interval, allowed, 'VarianceTableHook')
        self.interval = interval

    def after_train_epoch(self, runner: Runner) -> None:
        """Print the table every ``interval`` epochs."""
        if self.interval is not None and self.every_n_epochs(runner, self.interval):
            self._print(runner)

    def after_train(self, runner: Runner) -> None:
        """Print the table once more."""
        self._print(runner)

    @master_only
    def _print(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        part = wrapper.part(AGVMPart) if isinstance(wrapper, PartsMixin) else None
        if part is not None:
            title = f'AGVM after {wrapper.updates} updates'
            print_log('\n' + render(title, part.rows(wrapper.updates)), logger='current')


def render(title: str, rows: Sequence[ModuleRow]) -> str:
    """The table as text."""
    table = Table(title=title)
    table.add_column('module')
    for column in ('parameters', 'phi', 'noise scale (images)', 'scale', 'lr'):
        table.add_column(column, justify='right')
    for row in rows:
        table.add_row(
            row.name,
            f'{row.parameters:,}',
            _number(row.phi, '.3f'),
            _number(row.noise_scale, '.1f'),
            f'{row.scale:.3f}',
            f'{row.learning_rate:.3g}',
        )
    text = io.StringIO()
    Console(file=text, width=100).print(table)
    return text.getvalue()


def _number(value: float, style: str) -> str:
    return '-' if math.isnan(value) else format(value, style)
