"""Backbones without normalisation layers: NFNet and NF-ResNet.

The recipes of configs/nf_resnet and configs/miniature use NF-ResNet. NFNet is for configs of a
user's own, with the published weights that :func:`from_timm` reads.
"""

from .gamma_act import GammaAct
from .nf_resnet import NFResNet
from .nfnet import NFNet
from .scaled_conv import ScaledWSConv2d
from .weights import from_timm

__all__ = ['GammaAct', 'NFNet', 'NFResNet', 'ScaledWSConv2d', 'from_timm']
