"""Backbones with ImageNet weights that a package registry holds."""

from .efficientnet_lite import EfficientNetLite0

__all__ = ['EfficientNetLite0']
