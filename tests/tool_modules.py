"""Scripts of tools/ and commands of lab/ as modules, so that a test can call their functions."""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from argparse import ArgumentParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from launcher import ROOT


def load_tool(tool: str) -> ModuleType:
    """``tools/<tool>``, imported anew, or the module ``lab.<command>``."""
    if tool.startswith('lab.'):
        return importlib.import_module(tool)
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


def refusal_of(tool: str, args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Expect of a command line that it ends with one sentence and without a traceback."""
    monkeypatch.setattr('sys.argv', [tool, *args])
    with pytest.raises(SystemExit, match=r'^error: [^\n]*\.$'):
        if tool.startswith('lab.'):
            monkeypatch.delitem(sys.modules, tool, raising=False)  # or runpy warns
            runpy.run_module(tool, run_name='__main__')
        else:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
