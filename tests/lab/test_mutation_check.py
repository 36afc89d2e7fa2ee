"""The list of mutants fits the checkout, and the tool tells the killed from the survivors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from launcher import ROOT
from tool_modules import load_tool

from lab.breaking import copies

SOURCE = 'def add(a, b):\n    return a + b\n\n\ndef twice(a):\n    return a + a\n'
TEST = 'from adding import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n'


@pytest.fixture
def tool() -> ModuleType:
    return load_tool('lab.mutation_check')


@pytest.fixture
def checkout(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two functions, one of which is tested."""
    root = tmp_path / 'checkout'
    (root / 'tests').mkdir(parents=True)
    (root / 'adding.py').write_text(SOURCE)
    (root / 'tests' / 'test_add.py').write_text(TEST)
    (root / 'tests' / 'test_red.py').write_text('def test_red():\n    assert False\n')
    monkeypatch.setattr(copies, 'ROOT', root)
    monkeypatch.setattr(copies, 'PRELOAD', ())
    monkeypatch.setenv('FORCE_COLOR', '1')  # the names of failed tests are read all the same
    return root


def _run(
    tool: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, *mutants: tuple[str, str, str]
) -> int:
    entries = [
        dict(name=f'mutant {i}', file='adding.py', old=old, new=new, tests=[f'tests/{tests}'])
        for i, (old, new, tests) in enumerate(mutants)
    ]
    path = folder / 'list.json'
    path.write_text(json.dumps(entries))
    arguments = ['mutation_check.py', '--list', path, '--out', folder / 'new' / 'table.md']
    monkeypatch.setattr(sys, 'argv', [*map(str, arguments), '--jobs', '2'])
    return tool.main()


def _exists(test: str) -> bool:
    path, *names = test.split('::')
    return (
        all(f'{names[-1]}(' in (ROOT / path).read_text() for _ in names[:1])
        and (ROOT / path).exists()
    )


def test_every_mutant_of_the_list_fits_the_checkout(tool: ModuleType) -> None:
    mutants = tool.read_mutants(tool.LIST)
    for mutant in mutants:
        assert mutant.applied(ROOT) != (ROOT / mutant.file).read_text()
        assert all(_exists(test) for test in mutant.tests)
    assert len({mutant.name for mutant in mutants}) == len(mutants) >= 24
    parts = {Path(mutant.file).parts[1] for mutant in mutants}
    wanted = {'statistics', 'gradients', 'parts', 'wrappers', 'optimizers', 'kfac', 'curriculum'}
    assert wanted | {'schedulers', 'reproduce'} <= parts


def test_killed_and_survivor(tool, checkout, tmp_path, monkeypatch, capsys) -> None:
    killed = ('a + b', 'a - b', 'test_add.py')
    assert _run(tool, tmp_path, monkeypatch, killed) == 0
    assert '1 of 1 mutants were killed' in capsys.readouterr().out
    assert _run(tool, tmp_path, monkeypatch, killed, ('a + a', 'a', 'test_add.py')) == 1
    first, second = (tmp_path / 'new' / 'table.md').read_text().splitlines()[2:]
    assert first.startswith('| mutant 0 | adding.py | `test_add.py::test_add` |')
    assert second.startswith('| mutant 1 | adding.py | **survived** |')
    assert (checkout / 'adding.py').read_text() == SOURCE


@pytest.mark.parametrize(
    ('mutant', 'words'),
    [
        (('a * b', 'a', 'test_add.py'), "'a * b' occurs 0 times in adding.py"),
        (('return a', 'return', 'test_add.py'), "'return a' occurs 2 times in adding.py"),
        (('a + b', 'a +', 'test_add.py'), "'mutant 0' is no Python"),
        (('a + b', 'a - b', 'test_red.py'), 'the tests do not pass without a mutant'),
        (('a + b', 'a - b', 'absent.py'), 'the tests do not pass without a mutant'),
    ],
)
def test_a_list_that_does_not_fit(
    tool, checkout, tmp_path, monkeypatch, capsys, mutant, words
) -> None:
    assert _run(tool, tmp_path, monkeypatch, mutant) == 2
    assert words in capsys.readouterr().err


def test_a_mutant_whose_tests_cannot_start_is_no_kill(
    tool, checkout, tmp_path, monkeypatch, capsys
) -> None:
    assert _run(tool, tmp_path, monkeypatch, ('def add', 'def added', 'test_add.py')) == 2
    assert "'mutant 0': pytest ended with 2" in capsys.readouterr().err


def test_only(tool: ModuleType) -> None:
    names = {mutant.file for mutant in tool.read_mutants(tool.LIST, 'agvm_mm/kfac')}
    assert names and all(name.startswith('agvm_mm/kfac') for name in names)
    with pytest.raises(tool.ListError, match="--only 'nothing' matches no mutant"):
        tool.read_mutants(tool.LIST, 'nothing')
