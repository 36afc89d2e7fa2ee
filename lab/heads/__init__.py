"""Heads and necks that take independent gradients away from a head, one source at a time.

The paper explains the misaligned variances by effective batch sizes: a RetinaNet head sees every
level of the FPN and every pixel of an image, the backbone sees the image once. These parts remove
one source each: a head of its own for every level, a neck of one level, a loss of fewer pixels.

Source: Xue et al., "Large-batch Optimization for Dense Visual Predictions", NeurIPS 2022.
"""

from .per_level_head import PerLevelRetinaHead
from .pixel_drop_head import PixelDropRetinaHead
from .single_level_neck import SingleLevelNeck

__all__ = ['PerLevelRetinaHead', 'PixelDropRetinaHead', 'SingleLevelNeck']
