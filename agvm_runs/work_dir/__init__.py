"""What a run leaves behind as text; needs neither torch nor MMEngine."""

from .files import (
    FileError,
    finite,
    line_a_key,
    read_json,
    read_lines,
    read_text,
    require_own,
    write_own,
)
from .literals import SCOPE, read_literals, type_name
from .results import read_result, score_of
from .scalars import find_scalars, is_training, module_curve, parse_lines

__all__ = [
    'SCOPE',
    'FileError',
    'find_scalars',
    'finite',
    'is_training',
    'line_a_key',
    'module_curve',
    'parse_lines',
    'read_json',
    'read_lines',
    'read_literals',
    'read_result',
    'read_text',
    'require_own',
    'score_of',
    'type_name',
    'write_own',
]
