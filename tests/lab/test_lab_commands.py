"""Every option of a command says what it is for; a command that cannot work says why."""

from __future__ import annotations

import pytest
from launcher import ROOT
from tool_modules import load_tool, parser_of, refusal_of

COMMANDS = sorted(f'lab.{path.stem}' for path in ROOT.glob('lab/*.py') if path.stem[0] != '_')
REFUSED = {
    'lab.miniature': ['--tune', '0'],
    'lab.large_batch': ['--batches', '48'],
    'lab.rule_cost': ['--optimizers', 'none'],
    'lab.curriculum_benchmark': ['detection', 'OUT', '--jobs', '0'],
    'lab.curriculum_statistics': ['OUT', '--counts', '1'],
    'lab.updates_to_target': ['x.py', '--loss', '1', '--score', '1', '--out', 'x.json'],
    'lab.estimator_quality': ['x.py', '--horizon', '1'],
    'lab.optimizer_cost': ['--rounds', '0'],
    'lab.exact_accumulation': ['--rounds', '0'],
    'lab.kfac_cost': ['--rounds', '0'],
    'lab.kfac_scaling': ['--gpus', '0'],
    'lab.attach_cost': ['--rounds', '1'],
    'lab.kfac_sampling': ['--limits', '400', '0'],
    'lab.benchmark': ['--ranks', '1'],
    'lab.noise_scales': ['OUT'],
    'lab.effective_batch': ['retinanet', '--updates', '5', '--window', '6'],
    'lab.scaling_model': ['--gpus', '8', '0'],
}


@pytest.mark.parametrize('command', COMMANDS)
def test_every_option_has_a_help_text(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of(load_tool(command), monkeypatch)
    assert [action.dest for action in parser._actions if not action.help] == []
    assert parser.format_help()  # the defaults that the texts name are there


def test_miniature_says_which_data_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    text = parser_of(load_tool('lab.miniature'), monkeypatch).format_help()
    assert '_bccd' in text and '_camvid' in text and 'docs/recipes.md' in text


@pytest.mark.usefixtures('empty_folder')
@pytest.mark.parametrize('command', REFUSED)
def test_a_refusal_is_one_sentence(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    refusal_of(command, REFUSED[command], monkeypatch)
