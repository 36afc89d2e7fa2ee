"""A network of attentions, transposed, standardised and one-dimensional convolutions."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from agvm_mm.models.nfnet import ScaledWSConv2d

LAYERS = [
    *('backbone.first', 'backbone.larger', 'neck'),
    *(f'among.{kind}' for kind in ('q', 'k', 'v', 'out_proj')),
    *(f'across.{kind}' for kind in ('q', 'k', 'v', 'out_proj')),
    'head',
]
LEFT = ['backbone.first.gain', 'queries.weight']


class KindsNet(BaseModel):
    """Tokens of an image look at each other twice, and three learned queries at them.

    The same inputs and targets as those of ``MixedNet``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict(
            dict(
                first=ScaledWSConv2d(3, 4, 3, stride=2),
                larger=nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
            )
        )
        self.neck = nn.Conv1d(6, 4, 4, stride=4)
        self.among = nn.MultiheadAttention(4, 2, batch_first=True)
        self.queries = nn.Embedding(3, 6)
        self.across = nn.MultiheadAttention(6, 2, kdim=4, vdim=4)
        self.head = nn.Linear(6, 4)
        with torch.no_grad():  # scores that differ, so that queries and keys have a gradient
            for parameter in (*self.among.parameters(), *self.across.parameters()):
                parameter.normal_(std=0.5)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        larger = self.backbone['larger'](torch.tanh(self.backbone['first'](inputs)))
        tokens = self.neck(torch.tanh(larger).flatten(2)).mT
        for _ in range(2):
            tokens = tokens + self.among(tokens, tokens, tokens)[0]
        tokens = torch.tanh(tokens).transpose(0, 1)
        queries = self.queries.weight[:, None].expand(-1, len(inputs), -1)
        found = self.across(queries, tokens, tokens, need_weights=False)[0]
        return dict(loss=nn.functional.cross_entropy(self.head(found).mean(0), data_samples))
