"""Heads and necks that take independent gradients away from a head, one source at a time.

The paper explains the misaligned variances by effective batch sizes: a RetinaNet head sees every
level of the FPN and every pixel of an image, the backbone sees the image once. These parts remove
one source each: a head of its own for every level, a neck of one level, a loss of fewer pixels.

They are registered when MMDetection is imported; without it, or without mmcv's compiled operators,
there is nothing that they could be built into.

Source: Xue et al., "Large-batch Optimization for Dense Visual Predictions", NeurIPS 2022.
"""

from ...compat import has_compiled_ops, has_package

__all__: list[str] = []

if has_package('mmdet') and has_compiled_ops():
    from .per_level_head import PerLevelRetinaHead
    from .pixel_drop_head import PixelDropRetinaHead
    from .single_level_neck import SingleLevelNeck

    __all__ += ['PerLevelRetinaHead', 'PixelDropRetinaHead', 'SingleLevelNeck']
