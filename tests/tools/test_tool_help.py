"""Every option of the tools says what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
from launcher import ROOT
from tool_modules import load_tool, parser_of

FOLDER = ROOT / 'tools'
TOOLS = ['miniature.py'] + [
    str(path.relative_to(FOLDER))
    for folder in ('analysis_tools', 'dev')
    for path in sorted((FOLDER / folder).glob('*.py'))
]


@pytest.mark.parametrize('tool', TOOLS, ids=lambda tool: Path(tool).stem)
def test_every_option_has_a_help_text(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of(load_tool(tool), monkeypatch)
    bare = [action.dest for action in parser._actions if not action.help]
    assert not bare
    assert parser.format_help()  # the defaults that the texts name are there


def test_miniature_says_which_data_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    text = parser_of(load_tool('miniature.py'), monkeypatch).format_help()
    assert '_bccd' in text and '_camvid' in text and 'docs/recipes.md' in text
