"""The workflows run the make targets that .ci/run runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted(ROOT.glob('.github/workflows/*.yml'))
STEPS = re.compile(r'STEPS:-([a-z ]+)')

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason='an sdist has no workflows')


def jobs(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / '.github' / 'workflows' / name).read_text())['jobs']


def commands(name: str) -> list[str]:
    return [step['run'] for job in jobs(name).values() for step in job['steps'] if 'run' in step]


def targets(text: str) -> set[str]:
    """What stands after ``make`` at the beginning of a line."""
    return set(re.findall(r'^\s*make ([a-z-]+)', text, re.MULTILINE))


def test_every_command_is_a_make_target() -> None:
    known = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    for path in WORKFLOWS:
        for command in commands(path.name):
            assert targets(command) <= known and command.startswith('make '), command


def test_what_every_change_must_pass_is_run_in_public_too() -> None:
    wanted = targets((ROOT / '.ci' / 'run').read_text())
    assert {'test', 'lint', 'test-slow'} <= wanted
    # The pages and the archives need environments of their own from a package index.
    assert targets('\n'.join(commands('ci.yml'))) == wanted | {'docs', 'wheel'}


def test_the_suite_runs_on_every_stack() -> None:
    matrix = jobs('ci.yml')['test']['strategy']['matrix']['include']
    text = (ROOT / 'tools' / 'setup_env.py').read_text()
    assert [entry['stack'] for entry in matrix] == re.findall(r"^    '(\w+)': Stack", text, re.M)


def test_the_night_has_every_step_of_the_script_that_ci_does_not_run() -> None:
    (steps,) = STEPS.findall((ROOT / '.ci' / 'nightly').read_text())
    matrix = jobs('nightly.yml')['nightly']['strategy']['matrix']['step']
    stacks = [entry['stack'] for entry in jobs('ci.yml')['test']['strategy']['matrix']['include']]
    assert matrix + stacks == steps.split()
