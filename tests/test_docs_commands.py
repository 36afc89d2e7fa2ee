"""Commands in the pages name scripts, options, configs and make targets that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from docs_pages import PAGES, ROOT, read

SCRIPT = re.compile(r'(?<![\w/])(?:tools/[\w/]+\.(?:py|sh)|lab/\w+\.py)|python -m lab\.\w+')
OPTION = re.compile(r'(?<![\w-])--[a-z][\w-]*')


def commands(page: Path) -> list[str]:
    """Lines of code blocks and code within prose; lines that end with a backslash are joined."""
    prose, blocks = read(page)
    lines = [line for block in blocks for line in block.text.replace('\\\n', ' ').splitlines()]
    lines += re.findall(r'`([^`]+)`', '\n'.join(prose))
    return [line.partition('#')[0] for line in lines]


SCRIPT_CALLS = [(page, line) for page in PAGES for line in commands(page) if SCRIPT.search(line)]


def path_of(script: str) -> Path:
    """The file of a script as a command names it."""
    return ROOT / re.sub(r'python -m lab\.(\w+)', r'lab/\1.py', script)


@cache
def options(script: Path) -> frozenset[str]:
    """Options of a script: its own, of the modules that it imports from, of what it calls."""
    if script.suffix == '.sh':
        called = re.findall(r'\$(?:TOOLS|ROOT/tools)/([\w/]+\.py)', script.read_text())
        return frozenset().union(*(options(ROOT / 'tools' / name) for name in called))
    tree = ast.parse(script.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    files = [
        (script.parent if node.level else ROOT) / f'{str(node.module).replace(".", "/")}.py'
        for node in imports
    ]
    trees = [tree, *(ast.parse(path.read_text()) for path in files if path.is_file())]
    return frozenset(
        str(node.value)
        for one in trees
        for node in ast.walk(one)
        if isinstance(node, ast.Constant) and OPTION.fullmatch(str(node.value))
    )


@pytest.mark.parametrize(('page', 'line'), SCRIPT_CALLS, ids=lambda value: str(value)[-40:])
def test_scripts_exist_and_know_the_options(page: Path, line: str) -> None:
    script = SCRIPT.findall(line)[0]
    assert path_of(script).is_file(), f'{page.name} names {script}'
    unknown = set(OPTION.findall(line.partition(script)[2])) - options(path_of(script))
    assert not unknown, f'{page.name}: {script} has no {", ".join(sorted(unknown))}'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_configs_and_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    for line in commands(page):
        for name in re.findall(r'(?<![\w/])(?:lab/)?(?:configs|clusters)/[\w/.-]+\.\w+', line):
            assert (ROOT / name).is_file(), f'{page.name} names {name}'
        if line.startswith('make '):
            words = [word for word in line.split()[1:] if '=' not in word]
            assert set(words) <= targets, f'{page.name}: {line}'


def test_there_are_commands() -> None:
    assert len(SCRIPT_CALLS) > 20
    assert '--cfg-options' in options(path_of('python -m lab.updates_to_target'))
    assert '--total-batch-size' in options(ROOT / 'tools/dist_train.sh')
    assert '--cfg-options' in options(ROOT / 'tools/train.py')
