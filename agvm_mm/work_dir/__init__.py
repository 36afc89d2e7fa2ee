"""The text that MMEngine writes into a work directory; needs neither torch nor MMEngine."""

from .literals import read_literals
from .scalars import find_scalars, parse_lines, read_lines

__all__ = ['find_scalars', 'parse_lines', 'read_lines', 'read_literals']
