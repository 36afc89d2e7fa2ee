"""Runs side by side: settings that differ, results, curves."""

from .courses import Course, read_course, with_scores
from .render import CLOCKS, MARK, compare_figure, difference_table, result_table

__all__ = [
    'CLOCKS',
    'MARK',
    'Course',
    'compare_figure',
    'difference_table',
    'read_course',
    'result_table',
    'with_scores',
]
