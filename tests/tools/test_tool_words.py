"""Every option of the tools says what it is for; a tool that cannot work says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from launcher import ROOT
from tool_modules import load_tool, parser_of, refusal_of

FOLDER = ROOT / 'tools'
TOOLS = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob('analysis_tools/*.py'))


@pytest.mark.parametrize('tool', TOOLS, ids=lambda tool: Path(tool).stem)
def test_every_option_has_a_help_text(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of(load_tool(tool), monkeypatch)
    assert [action.dest for action in parser._actions if not action.help] == []
    assert parser.format_help()  # the defaults that the texts name are there


def test_the_help_of_auto_scale_lr_names_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the option would seem to scale every recipe linearly."""
    parser = parser_of(load_tool('train.py'), monkeypatch)
    (option,) = (action for action in parser._actions if '--auto-scale-lr' in action.option_strings)
    assert 'auto_scale_lr.rule' in str(option.help)


@pytest.mark.usefixtures('empty_folder')
def test_a_refusal_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    tool = 'analysis_tools/predict_batch_size.py'
    refusal_of(tool, ['x.py', '--check', '4', '0'], monkeypatch)
