"""Backbones for the methods of this package."""

from . import nfnet

__all__ = ['nfnet']
