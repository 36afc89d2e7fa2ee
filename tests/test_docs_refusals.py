"""Every refusal that docs/training.md quotes is said by the code and shown by the test named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFUSING = (
    'adaptive_clip',
    'binding',
    'clip',
    'exchange',
    'kfac',
    'lr_plan',
    'modulator',
    'precondition',
    'unreduced',
    'wrapper',
)
# Refusals of a value or a checkpoint, which are not about a combination and so not in the table.
ELSEWHERE = (
    'allowed is a dict such as dict(max_norm=35)',
    'the checkpoint holds AGVM state of version',
)


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
    compared = [text for name in tests for path in _test_files(name) for text in _expected(path)]
    shown = max((_common(quote, text) for text in compared), key=len)
    assert len(shown) > len(quote) / 2, f'no more than {shown!r} is compared in {tests}'


def _common(quote: str, text: str) -> str:
    match = SequenceMatcher(None, quote, text, autojunk=False).find_longest_match()
    return quote[match.a : match.a + match.size]


@cache
def _expected(path: Path) -> set[str]:
    """What a test file compares messages with: the strings of ``match=`` and before ``in``.

    A name there stands for the strings that are assigned to it or given by ``parametrize``.
    """
    nodes = list(ast.walk(ast.parse(path.read_text())))
    matched = [
        node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == 'match'
    ]
    compares = [node for node in nodes if isinstance(node, ast.Compare)]
    matched += [node.left for node in compares if isinstance(node.ops[0], ast.In)]
    assigned = [node for node in nodes if isinstance(node, ast.Assign)]
    lists = [
        node.args
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith('.parametrize')
    ]
    names: set[str] = set()
    more = {name for node in matched for name in _names(node)}
    while more:
        names |= more
        values = [node.value for node in assigned if _names(*node.targets) & more]
        values += [table for keys, table, *_ in lists if set(_strings(keys)) & more]
        matched += values
        more = {name for value in values for name in _names(value)} - names
    return {text.replace('\\', '') for node in matched for text in _strings(node)}


def _names(*trees: ast.AST) -> set[str]:
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _strings(tree: ast.AST) -> Iterator[str]:
    """Literals, and the fixed parts of f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_strings_that_are_only_in_a_comparison_count(tmp_path):
    file = tmp_path / 'test_it.py'
    file.write_text(
        "TABLE = {'a': ('one', SHORT)}\nSHORT = 'two'\nLOG = 'three'\n"
        "@pytest.mark.parametrize(('kind', 'words'), [('four', r'f\\.ve')])\n"
        'def test_it(kind, words):\n'
        "    _, sentence = TABLE['a']\n"
        "    assert sentence in text and 'six' in text and text == 'seven'\n"
        '    with pytest.raises(ValueError, match=words):\n'
        "        call('eight')\n"
    )
    # A table is taken as a whole.
    assert _expected(file) == {'a', 'one', 'two', 'four', 'f.ve', 'six'}


def _sentences(name: str) -> list[str]:
    """The fixed parts of what ``agvm_mm/optim/<name>.py`` raises, one string a refusal."""
    tree = ast.parse((ROOT / 'agvm_mm' / 'optim' / f'{name}.py').read_text())
    sentences = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        if ast.get_docstring(function) is not None:
            del function.body[0]
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
        assert any(quote in sentence for quote in (*QUOTES, *ELSEWHERE)), sentence


@pytest.mark.parametrize('sentence', ELSEWHERE)
def test_what_is_not_on_the_page_is_in_the_code(sentence):
    assert sum(sentence in raised for name in REFUSING for raised in _sentences(name)) == 1


def test_there_are_refusals():
    assert len(QUOTES) >= 20


def test_every_test_file_named_on_the_page_exists():
    page = (ROOT / 'docs' / 'training.md').read_text()
    names = set(re.findall(r'`(?:launch/)?(test_\w+)`', page))
    assert len(names) > 10
    assert [name for name in names if not _test_files(name)] == []
