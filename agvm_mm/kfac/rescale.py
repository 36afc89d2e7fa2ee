r"""Weights kept at a fixed size, as the published recipe does where a norm layer follows them.

.. math:: W \leftarrow W \min\!\left(1, \frac{\sqrt{2 d_{out}}}{\|W\| + 10^{-9}}\right)

after every update, for the weights of convolutions and Linears. Source: Osawa et al., CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .layers import KroneckerLayer, Layer


@torch.no_grad()
def rescale_weights(layers: Sequence[Layer]) -> None:
    """Shrink the weights that are longer than sqrt(2 x output channels)."""
    weights = [layer.parameters[0] for layer in layers if isinstance(layer, KroneckerLayer)]
    for weight in weights:
        scale = (2 * weight.shape[0]) ** 0.5 / (weight.norm() + 1e-9)
        weight.mul_(scale.clamp(max=1.0))
