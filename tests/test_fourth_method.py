"""The method that docs/contributing/design.md adds works with what the page says is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from docs_pages import ROOT, blocks_of
from torch import nn

from agvm_mm.loop import held
from agvm_mm.wrappers import PartsOptimWrapper, wrapper

PAGE = ROOT / 'docs' / 'contributing' / 'design.md'


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Any:
    names: dict[str, Any] = {}
    (block,) = blocks_of([PAGE], 'python')
    exec(block.text, names)
    found = names['CentralizedPart']
    steps = (*held.STEP_ORDER, found)
    for module in (held, wrapper):
        monkeypatch.setattr(module, 'STEP_ORDER', steps)
    monkeypatch.setattr(held, 'BIND_ORDER', (*held.BIND_ORDER, found))
    return found


def test_the_part_of_the_page_changes_the_step(kind: Any) -> None:
    layer = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    optim_wrapper = PartsOptimWrapper(optimizer, centralize=0.5)
    assert optim_wrapper.part(kind) is not None
    inputs = torch.tensor([[1.0, 2.0, 6.0]])
    with optim_wrapper.optim_context(layer):
        loss = layer(inputs).sum()
    optim_wrapper.update_params(loss)
    # Both outputs have the gradient (1, 2, 6), whose mean is 3.
    torch.testing.assert_close(layer.weight.detach(), -(inputs - 1.5).expand(2, 3))


def test_a_wrong_value_is_one_sentence(kind: Any) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    with pytest.raises(ValueError, match=r'optim_wrapper\.centralize is 2; allowed is a number in'):
        PartsOptimWrapper(optimizer, centralize=2)


def test_the_file_of_the_page_works_in_its_place(tmp_path: Path) -> None:
    """As ``parts/centralized.py``, which ``parts/__init__.py`` imports before most others."""
    for package in ('agvm_mm', 'agvm_runs'):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns('.mim'))
    parts = tmp_path / 'agvm_mm' / 'parts'
    (block,) = blocks_of([PAGE], 'python')
    (parts / 'centralized.py').write_text(block.text)
    face = parts / '__init__.py'
    before = 'from .agvm import AGVMPart\n'
    assert before in face.read_text()
    added = f'{before}from .centralized import CentralizedPart\n'
    face.write_text(face.read_text().replace(before, added))
    code = 'from agvm_mm.parts import CentralizedPart; print(CentralizedPart.__module__)'
    found = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    )
    assert found.stdout.strip() == 'agvm_mm.parts.centralized', found.stderr
