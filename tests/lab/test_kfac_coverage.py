"""The command that lists what K-FAC preconditions, on models of which the numbers are known."""

from __future__ import annotations

from typing import Any

import pytest
from tool_modules import load_tool
from torch import nn

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')


def test_a_row() -> None:
    """3 x 4 + 3 and 2 x (4 x 4) numbers of known layers, 10 x 2 and 1 of others; 5 are frozen."""
    model = nn.ModuleDict(
        dict(
            linear=nn.Linear(4, 3),
            convolutions=nn.Sequential(*(nn.Conv1d(4, 4, 1, bias=False) for _ in range(2))),
            table=nn.Embedding(10, 2),
            slope=nn.PReLU(),
            frozen=nn.Linear(4, 1).requires_grad_(False),
        )
    )
    row = load_tool('lab.kfac_coverage').coverage('name', model)
    assert row == [
        'name',
        '0.0 million',
        f'{47 / 68:.3f}',
        f'Embedding is not known ({20 / 68:.3f}); PReLU is not known ({1 / 68:.3f})',
    ]


@pytest.mark.parametrize(
    ('name', 'least', 'left'),
    [
        ('SegFormer B0', 0.999, ''),
        ('RTMDet-tiny', 0.999, ''),
        ('Segmenter ViT-T', 0.96, 'VisionTransformer is not known (0.029)'),
    ],
)
def test_models(
    name: str, least: float, left: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    tool = load_tool('lab.kfac_coverage')
    monkeypatch.setattr('sys.argv', ['kfac_coverage.py', '--config', tool.CONFIGS[name]])
    tool.main()
    cells = capsys.readouterr().out.splitlines()[-1].strip('| ').split(' | ')
    assert least <= float(cells[2]) <= 1
    assert left in cells[-1]
