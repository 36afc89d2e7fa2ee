"""Every refusal that docs/training.md quotes is said by the code and shown by the test named."""

from __future__ import annotations

import ast
import re
from difflib import SequenceMatcher
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFUSING = ('adaptive_clip', 'binding', 'exchange', 'lr_plan', 'precondition', 'wrapper')


def _flat(paths: list[Path]) -> str:
    """Source text with adjoining string literals joined and regular expressions unescaped."""
    text = '\n'.join(path.read_text() for path in paths)
    return re.sub(r"""['"]\s*\n\s*[rf]?['"]""", '', text).replace('\\', '')


def _rows() -> list[tuple[str, list[str]]]:
    """Quoted sentence and test files of every row that refuses something."""
    rows = []
    for line in (ROOT / 'docs' / 'training.md').read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if len(cells) == 4 and cells[1].startswith('refused'):
            rows += [
                (quote, re.findall(r'`(\S+)`', cells[3]))
                for quote in re.findall(r'"([^"]+)"', cells[2])
            ]
    return rows


def _test_files(name: str) -> list[Path]:
    return list((ROOT / 'tests').rglob(f'{Path(name).name}.py'))


SOURCE = _flat(sorted((ROOT / 'agvm_mm').rglob('*.py')))
QUOTES = [quote for quote, _ in _rows()]


@pytest.mark.parametrize(('quote', 'tests'), _rows(), ids=lambda value: str(value)[:40])
def test_a_quoted_refusal_is_said_by_the_code_and_expected_by_its_test(quote, tests):
    assert quote in SOURCE
    text = _flat([path for name in tests for path in _test_files(name)])
    match = SequenceMatcher(None, quote, text, autojunk=False).find_longest_match()
    shown = quote[match.a : match.a + match.size]
    assert len(shown.split()) >= 2 and len(shown) >= 9, f'only {shown!r} is in {tests}'


def _sentences(name: str) -> list[str]:
    """The fixed parts of what ``agvm_mm/optim/<name>.py`` raises, one string a refusal."""
    tree = ast.parse((ROOT / 'agvm_mm' / 'optim' / f'{name}.py').read_text())
    sentences = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        raised = [node for node in ast.walk(function) if isinstance(node, ast.Raise)]
        # Parts of a function's only sentence may be put together before.
        sentences += [_constants(node) for node in ([function] if len(raised) == 1 else raised)]
    return sentences


def _constants(tree: ast.AST) -> str:
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return ' '.join(node.value for node in nodes if isinstance(node.value, str))


@pytest.mark.parametrize('name', REFUSING)
def test_every_refusal_in_the_code_is_on_the_page(name):
    sentences = _sentences(name)
    assert sentences
    for sentence in sentences:
        assert any(quote in sentence for quote in QUOTES), sentence


def test_there_are_refusals():
    assert len(QUOTES) >= 20


def test_every_test_file_named_on_the_page_exists():
    page = (ROOT / 'docs' / 'training.md').read_text()
    names = set(re.findall(r'`(?:launch/)?(test_\w+)`', page))
    assert len(names) > 10
    assert [name for name in names if not _test_files(name)] == []
