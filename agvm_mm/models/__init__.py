"""Backbones, heads and necks for the methods of this package.

:mod:`.effective_batch` subclasses MMDetection's heads and is imported by the configs that use it.
"""

from . import nfnet

__all__ = ['nfnet']
