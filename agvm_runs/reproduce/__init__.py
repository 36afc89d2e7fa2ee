"""The paper's tables beside what was measured: recipes, commands, finished and running work.

Needs neither torch nor MMEngine, so that a table is on the screen at once.
"""

from .commands import Plan, plan_of
from .render import to_csv, to_markdown, to_terminal
from .rows import Row, rows_of
from .summary import to_summary
from .table import Table
from .tables import TABLES

__all__ = [
    'TABLES',
    'Plan',
    'Row',
    'Table',
    'plan_of',
    'rows_of',
    'to_csv',
    'to_markdown',
    'to_summary',
    'to_terminal',
]
