"""Curves of the modules over training: read, with their bands, and drawn."""

from .history import History, read_history

__all__ = ['History', 'read_history']
