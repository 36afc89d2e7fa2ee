"""Reading and drawing what a run has logged."""

from .history import History, read_history

__all__ = ['History', 'read_history']
