"""K-FAC in a curriculum: images of a stage's size are what its factors are measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from curriculum_toy import OneWeight, run
from mmengine.hooks import Hook
from torch import nn

from agvm_mm.parts import KFACPart


class OneConvolution(OneWeight):
    """A convolution in the place of the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        images = torch.stack(list(inputs))
        return dict(loss=torch.tanh(self.convolution(images)).mean() + self.weight.sum())


class Positions(Hook):
    """The entry of A that counts the outputs of an image, those of the bias with itself."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        (layer,) = runner.optim_wrapper.part(KFACPart).preconditioner.layers
        self.found.append(float(layer.factors[0][0, -1, -1]))


def test_factors_are_those_of_the_stage(tmp_path: Path) -> None:
    """Images of 16 pixels, of 8 in the first half: 14 x 14 and 6 x 6 outputs."""
    torch.manual_seed(0)
    model, positions = OneConvolution(), Positions()
    kfac = dict(statistics_interval=1, inverse_interval=1, momentum=0.0, damping=1.0)
    stages = [dict(share=0.5, ratio=0.5), dict(share=0.5, ratio=1.0)]
    rows = run(
        tmp_path,
        None,
        model=model,
        custom_hooks=[dict(type='CurriculumHook', stages=stages), positions],
        optim_wrapper=dict(
            type='PartsOptimWrapper', optimizer=dict(type='SGD', lr=1e-3), kfac=kfac
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
    )
    assert rows == []  # the hook that records was replaced
    small, large = positions.found.count(36.0), positions.found.count(196.0)
    assert small > large > 0 and small + large == len(positions.found)
    assert positions.found == [36.0] * small + [196.0] * large
    assert all(parameter.isfinite().all() for parameter in model.parameters())
