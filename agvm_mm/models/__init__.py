"""Models for MMDetection and MMSegmentation, registered where their packages are installed."""

from . import effective_batch

__all__ = ['effective_batch']
