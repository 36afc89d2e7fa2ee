"""A table of the modules, their gradient variance and their learning rates."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from agvm_runs.checks import counted, is_count, require
from agvm_runs.verdict import Phi, sentences

from ..parts import AGVMPart
from ..parts.report import ModuleRow
from ..wrappers import PartsMixin


@HOOKS.register_module()
class VarianceTableHook(Hook):
    """Prints one row a module every ``interval`` epochs, and the verdict at the end.

    Columns: trainable parameters; phi, the averaged normalised variance, with its 95 % interval;
    the noise scale in images; the scale; the learning rate of the coming step. The verdict compares
    the batch with the noise scales (:mod:`agvm_runs.verdict`); TensorBoard has it as text.

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
        self._shown = -1  # updates at the last table

    def after_train_epoch(self, runner: Runner) -> None:
        """Print the table every ``interval`` epochs."""
        if self.interval is not None and self.every_n_epochs(runner, self.interval):
            self._print(runner)

    def after_train(self, runner: Runner) -> None:
        """Print the table, unless this epoch has printed it, and the verdict."""
        self._print(runner)
        self._judge(runner)

    @master_only
    def _print(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        part = _part(wrapper)
        if part is not None and wrapper.updates != self._shown:
            self._shown = wrapper.updates
            title = f'AGVM after {counted(wrapper.updates, "update")}'
            print_log('\n' + render(title, part.rows(wrapper.updates)), logger='current')

    @master_only
    def _judge(self, runner: Runner) -> None:
        part = _part(runner.optim_wrapper)
        if part is None or not part.images:
            return
        rows = [
            Phi(row.name, row.phi, row.phi_low, row.phi_high)
            for row in part.rows(runner.optim_wrapper.updates)
            if not math.isnan(row.phi_low)
        ]
        for sentence in (found := sentences(part.images, rows)):
            print_log(sentence, logger='current')
        if found and 'TensorboardVisBackend' in getattr(runner.visualizer, '_vis_backends', {}):
            board = runner.visualizer.get_backend('TensorboardVisBackend').experiment
            board.add_text('agvm/verdict', '\n\n'.join(found), runner.iter)


def _part(wrapper: Any) -> AGVMPart | None:
    return wrapper.part(AGVMPart) if isinstance(wrapper, PartsMixin) else None


def render(title: str, rows: Sequence[ModuleRow]) -> str:
    """The table as text."""
    table = Table(title=title)
    table.add_column('module')
    for column in ('parameters', 'phi', '95 %', 'noise scale (images)', 'scale', 'lr'):
        table.add_column(column, justify='right')
    for row in rows:
        table.add_row(
            row.name,
            f'{row.parameters:,}',
            _number(row.phi, '.3f'),
            _interval(row),
            _number(row.noise_scale, '.1f'),
            f'{row.scale:.3f}',
            f'{row.learning_rate:.3g}',
        )
    text = io.StringIO()
    Console(file=text, width=110).print(table)
    return text.getvalue()


def _interval(row: ModuleRow) -> str:
    return '-' if math.isnan(row.phi_low) else f'{row.phi_low:.3f} to {row.phi_high:.3f}'


def _number(value: float, style: str) -> str:
    return '-' if math.isnan(value) else format(value, style)
