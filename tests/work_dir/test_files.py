"""Outputs are written over nothing but their former selves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from launcher import run_tool
from logs import train_line, write_run

from agvm_runs.work_dir import find_scalars, parse_lines, read_json, write_own
from agvm_runs.work_dir.files import FileError

MARK = 'agvm_mm test'


def test_an_output_replaces_its_former_self_alone(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'a.json'
    write_own(path, f'{MARK} 1', MARK)
    write_own(path, f'{MARK} 2', MARK)
    assert path.read_text() == f'{MARK} 2'
    assert [one.name for one in path.parent.iterdir()] == ['a.json']


def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(tmp_path: Path) -> None:
    path, left = tmp_path / 'a.json', tmp_path / f'.{os.getpid()}.new'
    left.symlink_to(tmp_path / 'elsewhere')
    write_own(path, MARK, MARK)
    assert path.read_text() == MARK and [one.name for one in tmp_path.iterdir()] == ['a.json']


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / 'target', tmp_path / 'link'
    for text in (None, MARK):
        if text is not None:
            target.write_text(text)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with pytest.raises(FileError, match=r'link is a symbolic link'):
            write_own(link, 'x', MARK)
        assert link.is_symlink() and target.exists() == (text is not None)
    assert target.read_text() == MARK


def test_a_foreign_file_and_a_folder_stay(tmp_path: Path) -> None:
    path = tmp_path / 'notes'
    path.write_text('mine')
    with pytest.raises(FileError, match='not an earlier output of this tool'):
        write_own(path, 'x', MARK)
    with pytest.raises(FileError, match='is not a regular file'):
        write_own(tmp_path, 'x', MARK)
    with pytest.raises(FileError, match='cannot be written'):
        write_own(path / 'below', 'x', MARK)
    assert path.read_text() == 'mine'


@pytest.mark.parametrize(
    ('tool', 'name', 'more'),
    [
        ('report.py', 'out.html', ['--out', '{}/out.html']),
        ('plot_variance.py', 'out.png', ['--out', '{}/out']),
        ('plot_variance.py', 'out.svg', ['--out', '{}/out']),
    ],
)
def test_the_tools(tmp_path: Path, tool: str, name: str, more: list[str]) -> None:
    write_run(tmp_path, [{**train_line(1, 1), 'agvm/phi/neck': 0.5}])
    args = [tmp_path, *(one.format(tmp_path) for one in more)]
    run_tool(f'analysis_tools/{tool}', *args)
    run_tool(f'analysis_tools/{tool}', *args)  # its own
    (tmp_path / name).write_text('mine')
    printed = run_tool(f'analysis_tools/{tool}', *args, fails=True)
    assert printed.startswith('error: ') and printed.count('\n') == 1
    assert (tmp_path / name).read_text() == 'mine'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('{"a": ' * 100_000, 'is nested too deeply'),
        ('[' * 200 + ']' * 200, 'is nested too deeply'),
        ('9' * 5000, 'too many digits'),
        ('"\\ud800"', 'half of a surrogate pair'),
        ('{', 'is not JSON'),
    ],
)
def test_json_that_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(FileError, match=f'a.json .*{words}'):
        read_json(path)


def test_text_of_a_whole_pair_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    path.write_text('"\\ud83d\\ude00"')
    assert read_json(path) == '\U0001f600'


@pytest.mark.parametrize('clock', ['iter', 'step', 'epoch'])
@pytest.mark.parametrize('value', [None, '5', 1.5, -1, True, 2**53 + 1])
def test_a_clock_that_no_run_logs_is_a_sentence(tmp_path: Path, clock: str, value: object) -> None:
    entry = {**train_line(1, 5), clock: value}
    with pytest.raises(FileError, match=f'whose {clock} is .*; allowed is a whole number from 0'):
        list(parse_lines([json.dumps(entry)], tmp_path / 'scalars.json'))


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = write_run(tmp_path, [train_line(1, 5)], tail='{"iter": 6, "st')
    assert find_scalars(tmp_path) == [path]
    lines = path.read_text().splitlines()
    assert list(parse_lines(lines, path)) == [train_line(1, 5)]
