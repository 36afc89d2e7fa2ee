"""The Python in the pages runs, and what its configs name is built."""

from __future__ import annotations

import ast
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from docs_pages import PAGES, README, Block, blocks_of
from mmengine import registry as registries
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from agvm_mm.compat import has_compiled_ops
from agvm_mm.models.nfnet import NFResNet
from agvm_mm.optimizers import second_moments

CODE = blocks_of(PAGES, 'python')
PROGRAMS = [
    block for block in CODE if any(isinstance(node, (ast.Import, ast.ImportFrom))
                                   for node in ast.parse(block.text).body)
]  # fmt: skip
CONFIGS = [block for block in CODE if block not in PROGRAMS]
NEEDS_OPS = pytest.mark.skipif(not has_compiled_ops(), reason="needs mmcv's compiled operators")


def by_name(block: Block) -> str:
    return block.name


def a_detector() -> nn.Module:
    """The reader's own model."""
    names = ('backbone', 'neck', 'head')
    return nn.Sequential(OrderedDict((name, nn.Linear(3, 3)) for name in names))


def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The reader's own loop, of four backward passes in an update."""
    for _ in range(2):
        optimizer.zero_grad()
        for _ in range(4):
            (model(torch.randn(5, 3)).square().mean() / 4).backward()
        optimizer.step()


class MyAdam(torch.optim.Adam):
    """The reader's own optimizer of docs/training.md."""


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What a reader of the page has: an optimizer, timm, a folder for checkpoints."""
    state = NFResNet(depth=26, base_channels=8).state_dict()
    timm = SimpleNamespace(
        create_model=lambda name, pretrained: SimpleNamespace(state_dict=lambda: state)
    )
    monkeypatch.setitem(sys.modules, 'timm', timm)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(second_moments, '_REGISTRY', dict(second_moments._REGISTRY))
    (tmp_path / 'checkpoints').mkdir()
    model = a_detector()
    yield dict(
        MyAdam=MyAdam, model=model, optimizer=MyAdam(model.parameters(), lr=0.1), train=train
    )


@pytest.mark.parametrize('block', PROGRAMS, ids=by_name)
def test_programs_run(block: Block, reader: dict[str, Any]) -> None:
    exec(block.text, reader)


class SmallNet(nn.Module):
    """One layer for every module that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck, self.rpn_head = (nn.Conv2d(3, 3, 1) for _ in range(3))


def is_ours(component: Any) -> bool:
    return component is not None and component.__module__.startswith('agvm_mm.')


def build_each(cfg: Any) -> int:
    """Build components of ours, logging back-ends, the optimizer wrapper; how many they are."""
    hooks = [*cfg.get('custom_hooks', []), *cfg.get('default_hooks', {}).values()]
    model = cfg.get('model', {})
    parts = [model[key] for key in ('data_preprocessor', 'backbone') if key in model]
    found = [
        (registry, entry)
        for registry, entries in ((registries.HOOKS, hooks), (registries.MODELS, parts))
        for entry in entries
        if is_ours(registry.module_dict.get(entry['type']))
    ]
    for registry, entry in found:
        registry.build({key: value for key, value in entry.items() if key != '_delete_'})
    backends = cfg.get('visualizer', {}).get('vis_backends', [])
    for backend in backends:
        registries.VISBACKENDS.build(dict(backend, save_dir='unused'))
    wrapper = cfg.get('optim_wrapper')
    if wrapper is not None:
        assert wrapper.optimizer.lr > 0
        built = build_optim_wrapper(SmallNet(), wrapper)
        assert type(built).__name__ == wrapper.type
    return len(found) + len(backends) + (wrapper is not None)


@NEEDS_OPS
@pytest.mark.parametrize('block', CONFIGS, ids=by_name)
def test_what_a_config_names_is_built(block: Block) -> None:
    node = ast.parse(block.text).body[0]
    if isinstance(node, ast.Expr):  # an entry of a pipeline
        assert registries.TRANSFORMS.build(eval(block.text)) is not None
    else:
        assert build_each(Config.fromstring(block.text, '.py')) > 0


def test_the_first_example_is_five_lines_over_a_config_of_mmdet() -> None:
    example = blocks_of([README], 'python')[0].text.splitlines()
    assert len(example) == 5
    assert example[0].startswith("_base_ = 'mmdet::")


def test_the_second_example_is_five_lines_that_print_a_table(
    reader: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    example = blocks_of([README], 'python')[1].text
    assert len(example.splitlines()) <= 5
    exec(example, reader)
    rows = capsys.readouterr().out.strip().splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip('|').split('|')] for row in rows]
    assert [row[0] for row in cells] == ['backbone', 'neck', 'head']
    assert all(0 < float(phi) < 2 and rate != '-' for _, _, phi, _, _, _, rate in cells)


def test_every_config_in_the_pages_is_marked_as_python() -> None:
    assert len(PROGRAMS) >= 2 and len(CONFIGS) >= 6
    assert [block.name for block in blocks_of(PAGES, '', 'text') if 'dict(' in block.text] == []
