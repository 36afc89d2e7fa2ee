"""A tool whose output nobody reads any more ends quietly, as ``tool | head -1`` expects."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from launcher import ROOT, command_of, environment
from logs import train_line, write_run

from agvm_runs.errors import exit_with_sentence

READER_GONE = 128 + 13  # what a shell reports of a program that SIGPIPE has ended


def run_into_closed_pipe(tool: str, *args: Any, **variables: str) -> tuple[int, str]:
    """Exit code and standard error of a tool that writes into a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command_of(tool, *args),
        env={**environment(), **variables},
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_a_tool(unbuffered: str) -> None:
    found = run_into_closed_pipe(
        'reproduce.py', '--format', 'markdown', PYTHONUNBUFFERED=unbuffered
    )
    assert found == (READER_GONE, '')


def test_a_command_of_the_laboratory(tmp_path: Path) -> None:
    curves = {'phi': 0.5, 'phi_low': 0.4, 'phi_high': 0.6, 'noise_scale': 4.0}
    values = {f'agvm/{quantity}/neck': value for quantity, value in curves.items()}
    write_run(tmp_path, [{**train_line(1, 10, loss=1.0), **values}])
    assert run_into_closed_pipe('lab.noise_scales', tmp_path) == (READER_GONE, '')


def test_an_analysis_tool(tmp_path: Path) -> None:
    write_run(tmp_path, [train_line(1, 10, loss=1.0)])
    out = ['--out', tmp_path / 'figure']
    found = run_into_closed_pipe('analysis_tools/compare.py', tmp_path, *out)
    assert found == (READER_GONE, '')


@pytest.mark.slow
def test_the_table_of_a_dry_run() -> None:
    config = 'lab/configs/fpn_r18_sgd_critical_scenes.py'
    code, text = run_into_closed_pipe('train.py', config, '--dry-run')
    assert code == READER_GONE and 'Traceback' not in text and 'BrokenPipe' not in text


def test_the_help() -> None:
    code, text = run_into_closed_pipe('reproduce.py', '--help')
    assert code in (0, READER_GONE) and text == ''


def test_another_broken_pipe_is_an_error() -> None:
    with pytest.raises(BrokenPipeError), exit_with_sentence():
        raise BrokenPipeError('of a worker')
