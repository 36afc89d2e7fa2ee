"""Random mutants: what is changed in a module, which tests run, and what is reported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from launcher import ROOT

from lab import random_mutants as tool
from lab.breaking import copies
from lab.breaking.sites import find_sites
from lab.random_mutants import DEFAULT

SOURCE = '''"""Docs 1 + 1."""

__all__ = ['f']


@cache(2)
def f(a: int = 3, *, b: float = 0.5) -> Literal[4]:
    """Also 1 < 2."""
    é = [a, b]  # bytes and characters differ
    if not a < b or a is None:
        raise ValueError(f'{a + 1}', 'x')
    é[0] = max(a, b) // 2
    call(-a, *é)
    return a not in é
'''
# By hand: line, kind, what is there, what replaces it.
CHANGES = {
    (7, 'constant', '3', '4'),
    (7, 'constant', '0.5', '1.0'),
    (10, 'operator', 'not', ''),
    (10, 'operator', 'or', 'and'),
    (10, 'comparison', '<', '<='),
    (10, 'comparison', 'is', 'is not'),
    (11, 'statement', "raise ValueError(f'{a + 1}', 'x')", 'pass'),
    (11, 'arguments', "f'{a + 1}', 'x'", "'x', f'{a + 1}'"),
    (12, 'statement', 'é[0] = max(a, b) // 2', 'pass'),
    (12, 'constant', '0', '1'),
    (12, 'arguments', 'a, b', 'b, a'),
    (12, 'operator', '//', '*'),
    (12, 'constant', '2', '3'),
    (13, 'statement', 'call(-a, *é)', 'pass'),
    (13, 'operator', '-', ''),
    (14, 'comparison', 'not in', 'in'),
}

PACKAGE = """
def add(a, b):
    return a + b


def half(a):
    return a / 2


def untested(a):
    return a * 2
"""
ROOM_TEST = 'from agvm_mm.adding import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n'
REST_TEST = 'from agvm_mm.adding import half\n\n\ndef test_half():\n    assert half(3) == 1.5\n'


def test_the_changes_of_a_module() -> None:
    sites = find_sites(SOURCE, 'f.py')
    assert {(site.line, site.kind, site.old, site.new) for site in sites} == CHANGES
    assert len(sites) == len(CHANGES)
    swapped = next(site for site in sites if site.old == 'a, b')
    assert swapped.applied(SOURCE) == SOURCE.replace('max(a, b)', 'max(b, a)')


def test_a_change_that_changes_nothing_is_not_used() -> None:
    (site,) = find_sites('f(a, a)', 'f.py')[1:]
    assert site.kind == 'arguments' and not site.breaks('f(a, a)')
    assert find_sites('a < b', 'f.py')[0].breaks('a < b')


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one room: a test beside it, one elsewhere, one function without a test."""
    root = tmp_path / 'checkout'
    for name, text in {
        'agvm_mm/__init__.py': '',
        'agvm_mm/adding/__init__.py': PACKAGE,
        'tests/adding/test_add.py': ROOM_TEST,
        'tests/test_half.py': REST_TEST,
        'pyproject.toml': '[tool.pytest.ini_options]\nmarkers = ["slow"]\n',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(copies, 'ROOT', root)
    monkeypatch.setattr(copies, 'PRELOAD', ())
    monkeypatch.setenv('FORCE_COLOR', '1')  # the names of failed tests are read all the same
    return root


def call(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    monkeypatch.setattr(sys, 'argv', ['random_mutants', *map(str, args)])
    return tool.main()


def test_the_room_and_then_the_rest(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'new' / 'out.json'
    assert call(monkeypatch, '--seed', 3, '--jobs', 2, '--out', out) == 0
    found = json.loads(out.read_text())
    killers = {(one['site']['old'], one['killed_by']) for one in found['outcomes']}
    assert killers == {
        ('+', 'tests/adding/test_add.py::test_add'),
        ('/', 'tests/test_half.py::test_half'),
        ('*', ''),
        ('2', 'tests/test_half.py::test_half'),
        ('2', ''),
    }
    assert (found['mutants'], found['killed'], found['share']) == (5, 3, 0.6)
    assert {(one['line'], one['new']) for one in found['survivors']} == {(11, '/'), (11, '3')}
    assert found['by_kind'] == {'constant': [1, 2], 'operator': [2, 3]}
    assert (found['seed'], found['by_time_limit']) == (3, 0)
    assert (checkout / 'agvm_mm/adding/__init__.py').read_text() == PACKAGE


def test_the_room_alone(checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert call(monkeypatch, '--room-only') == 0
    assert capsys.readouterr().out == '1 of 5 mutants were killed, seed 0.\n'


def test_the_tests_that_name_the_module_come_first(checkout: Path) -> None:
    for name in ('a', 'b'):
        (checkout / f'tests/adding/test_{name}.py').write_text('from x import half, addition\n')
    found = tool.nearest_first(checkout, 'agvm_mm/adding/__init__.py', ('tests/adding', *DEFAULT))
    assert found == [f'tests/adding/test_{name}.py' for name in ('a', 'add', 'b')]
    (checkout / 'tests/adding/test_b.py').write_text('from x import half, untested\n')
    found = tool.nearest_first(checkout, 'agvm_mm/adding/__init__.py', ('tests/adding', *DEFAULT))
    assert found[0] == 'tests/adding/test_b.py'


def test_a_seed_gives_the_same_mutants_and_another_one_others() -> None:
    first, again, other = (tool.choose(ROOT, 5, seed, 'agvm_mm/kfac/', False) for seed in (1, 1, 2))
    assert first == again and first != other
    assert len(first) == 5 and all(site.file.startswith('agvm_mm/kfac/') for site in first)


def test_a_suite_that_is_red_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (checkout / 'tests/adding/test_add.py').write_text('def test_red():\n    assert False\n')
    assert call(monkeypatch) == 2
    assert (
        'error: tests/adding/test_add.py::test_red does not pass without' in capsys.readouterr().err
    )


def test_only_that_matches_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert call(monkeypatch, '--only', 'nothing') == 2
    assert "error: --only 'nothing' matches no file" in capsys.readouterr().err


def test_tests_that_hang_are_counted_apart() -> None:
    site = find_sites('a < b', 'f.py')[0]
    outcomes = [tool.Outcome(site, copies.TIME_UP + '60-s', 60.0), tool.Outcome(site, 'x', 1.0)]
    assert tool.report(outcomes)['by_time_limit'] == 1


@pytest.mark.parametrize(
    ('file', 'tests'),
    [
        ('agvm_mm/kfac/solve.py', ('tests/kfac',)),
        ('agvm_mm/distributed/communicator.py', ('tests/gradients', 'tests/kfac')),
        ('agvm_mm/compat.py', ('tests/test_compat.py',)),
        ('agvm_runs/work_dir/scalars.py', ('tests/work_dir',)),
    ],
)
def test_the_tests_of_a_room(file: str, tests: tuple[str, ...]) -> None:
    assert tool.room_tests(ROOT, file) == (*tests, '-m', 'not slow')
    rest = tool.rest_tests(tool.room_tests(ROOT, file))
    assert rest[0] == 'tests' and {f'--ignore={test}' for test in tests} < set(rest)
