"""The method that docs/contributing/design.md adds works with what the page says is needed."""

from __future__ import annotations

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
