"""What a run leaves behind as text; needs neither torch nor MMEngine."""

from .literals import read_literals
from .results import distil, read_result, score_of, write_result
from .scalars import find_scalars, is_training, module_curve, parse_lines, read_lines

__all__ = [
    'distil',
    'find_scalars',
    'is_training',
    'module_curve',
    'parse_lines',
    'read_lines',
    'read_literals',
    'read_result',
    'score_of',
    'write_result',
]
