"""One HTML page about one run, from the text that the run has written."""

from .document import MARK, render_page
from .run import read_run

__all__ = ['MARK', 'read_run', 'render_page']
