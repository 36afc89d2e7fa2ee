"""Scripts of tools/ as modules, so that a test can call their functions."""

from __future__ import annotations

import importlib.util
import sys
from argparse import ArgumentParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from launcher import ROOT


def load_tool(tool: str) -> ModuleType:
    """``tools/<tool>``, imported anew."""
    spec = importlib.util.spec_from_file_location(f'tool_{Path(tool).stem}', ROOT / 'tools' / tool)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def parse(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, *args: Any) -> Any:
    """What the tool makes of a command line."""
    monkeypatch.setattr('sys.argv', [tool.__name__, *map(str, args)])
    return tool.parse_args()


def parser_of(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ArgumentParser:
    """The tool's parser."""
    found: list[ArgumentParser] = []

    def keep(parser: ArgumentParser) -> None:
        found.append(parser)
        raise SystemExit

    monkeypatch.setattr(ArgumentParser, 'parse_args', keep)
    with pytest.raises(SystemExit):
        tool.parse_args()
    return found[0]
