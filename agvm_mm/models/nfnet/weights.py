"""Published weights under this package's names.

Parameters are named as in timm, whose ``dm_nfnet_f0`` to ``f6`` hold the authors' own weights:

| here and in timm | what |
|---|---|
| ``stem.conv1`` ... ``stem.conv4`` (NFNet), ``stem.conv`` (NF-ResNet) | stem |
| ``stages.S.B.conv1``, ``conv2``, ``conv2b``, ``conv3`` | branch of block B of stage S |
| ``stages.S.B.downsample.conv`` | shortcut |
| ``stages.S.B.attn_last.fc1``, ``fc2`` | squeeze-and-excitation |
| ``stages.S.B.skipinit_gain`` | skip gain |
| each convolution's ``weight``, ``bias``, ``gain`` | ``gain`` is (outputs, 1, 1, 1) |

timm's ``final_conv`` and ``head`` have no counterpart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .gamma_act import GAMMA

LEFT_OUT = ('final_conv.', 'head.')


def from_timm(state: Mapping[str, Tensor], act: str = 'relu') -> dict[str, Tensor]:
    """Weights of a timm model for :class:`.nfnet.NFNet` or :class:`.nf_resnet.NFResNet`.

    timm's ``nf_resnet`` models, without a skip gain, multiply the output of every convolution by
    gamma, where the authors and this package multiply the activations before them. That is the same
    but for the stem, whose input is no activation: its gain takes gamma over. Their skip gains,
    folded into ``conv3.gain``, become 1.

    Args:
        state: ``state_dict`` of the timm model.
        act: activation of an ``nf_resnet`` model.
    """
    kept = {name: value for name, value in state.items() if not name.startswith(LEFT_OUT)}
    if any(name.endswith('.skipinit_gain') for name in kept):
        return kept
    kept['stem.conv.gain'] = kept['stem.conv.gain'] * GAMMA[act]
    blocks = {match[0] for match in map(re.compile(r'stages\.\d+\.\d+').match, kept) if match}
    kept.update({f'{block}.skipinit_gain': torch.ones(()) for block in sorted(blocks)})
    return kept
