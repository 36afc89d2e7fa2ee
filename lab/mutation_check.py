"""Break the package in one place at a time and see whether the tests notice.

    python -m lab.mutation_check
    python -m lab.mutation_check --only kfac --jobs 2

``mutants.json`` beside this file lists the mutants: a name, a file, a fragment of its source that
occurs there once, what replaces it, and the tests of which one has to fail, by name. The checkout
is copied, the chosen tests have to pass in the copy as it is, and then every mutant is put into the
copy alone.
The exit code is 1 if a mutant survives, and 2 if the list does not fit the checkout.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agvm_runs.errors import exit_with_sentence

from .breaking import copies
from .breaking.copies import FAILURE, TESTS_FAILED, in_copies, replaced, run_tests

LIST = Path(__file__).with_name('mutants.json')
TIME_LIMIT = 300  # seconds; a mutant that makes the ranks wait for each other is noticed by it
GREEN_LIMIT = 3600  # of all tests together


class ListError(Exception):
    """The list does not fit the checkout; the message is the sentence that the user reads."""


@dataclass(frozen=True)
class Mutant:
    """One way to break the package.

    Args:
        name: what is wrong with it.
        file: path below the root of the checkout.
        old: source that occurs in the file exactly once.
        new: what replaces it.
        tests: files and names of tests for pytest, one of which has to fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, root: Path) -> str:
        """The file's source with the mutation.

        Raises:
            ListError: the fragment is not there exactly once, or the result is no Python.
        """
        path = root / self.file
        source = path.read_text(encoding='utf-8') if path.is_file() else ''
        count = source.count(self.old)
        if count != 1:
            raise ListError(
                f'mutant {self.name!r}: {self.old!r} occurs {count} times in {self.file}; it has '
                f'to occur once, mend {LIST.name}.'
            )
        mutated = source.replace(self.old, self.new)
        try:
            ast.parse(mutated)
        except SyntaxError as error:
            raise ListError(f'mutant {self.name!r} is no Python: {error}.') from error
        return mutated


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Args:
        mutant: which.
        killed_by: the first test that failed; empty for a survivor.
        seconds: until pytest had ended.
    """

    mutant: Mutant
    killed_by: str
    seconds: float


def read_mutants(path: Path, only: str = '') -> list[Mutant]:
    """The mutants whose name or file matches the regular expression ``only``.

    Raises:
        ListError: none does.
    """
    entries = json.loads(path.read_text(encoding='utf-8'))
    mutants = [Mutant(**{**entry, 'tests': tuple(entry['tests'])}) for entry in entries]
    chosen = [m for m in mutants if re.search(only, m.name) or re.search(only, m.file)]
    if not chosen:
        raise ListError(f'--only {only!r} matches no mutant of {path.name}.')
    return chosen


def check_green(root: Path, mutants: Sequence[Mutant]) -> None:
    """Run the tests of all mutants on the copy ``root`` as it is.

    Raises:
        ListError: one does not pass, or is not there.
    """
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    code, output = run_tests(root, tests, GREEN_LIMIT)
    if code != 0:
        raise ListError(f'the tests do not pass without a mutant:\n{output[-3000:]}')


def try_mutant(root: Path, mutant: Mutant) -> Outcome:
    """Put a mutant into the copy ``root``, test it and take it out again.

    Raises:
        ListError: see :meth:`Mutant.applied`; or its tests could not be run.
    """
    start = time.monotonic()
    with replaced(root / mutant.file, mutant.applied(root)):
        code, output = run_tests(root, mutant.tests, TIME_LIMIT)
    seconds = time.monotonic() - start
    if code == 0:
        return Outcome(mutant, '', seconds)
    found = FAILURE.search(output)
    if code != TESTS_FAILED or found is None:
        raise ListError(f'mutant {mutant.name!r}: pytest ended with {code}:\n{output[-3000:]}')
    return Outcome(mutant, found[1], seconds)


def run_all(mutants: Sequence[Mutant], jobs: int) -> list[Outcome]:
    """Every mutant, ``jobs`` at a time, each job in a copy of its own.

    Raises:
        ListError: the list does not fit the checkout.
    """
    for mutant in mutants:
        mutant.applied(copies.ROOT)
    copies.preload()
    with tempfile.TemporaryDirectory() as folder:
        check_green(copies.copy_checkout(Path(folder) / 'green'), mutants)
        outcomes = []
        for outcome in in_copies(try_mutant, mutants, jobs, Path(folder)):
            print(_row(outcome), file=sys.stderr, flush=True)
            outcomes.append(outcome)
        return outcomes


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a table."""
    lines = ['| mutant | file | killed by | seconds |', '|---|---|---|---|']
    return '\n'.join(lines + [_row(outcome) for outcome in outcomes])


def _row(outcome: Outcome) -> str:
    test = outcome.killed_by.replace('|', r'\|')
    killer = f'`{test.removeprefix("tests/")}`' if test else '**survived**'
    mutant = outcome.mutant
    return f'| {mutant.name} | {mutant.file} | {killer} | {outcome.seconds:.0f} |'


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', default='', metavar='PATTERN', help='regular expression')
    parser.add_argument('--jobs', type=int, default=1, help='mutants at a time')
    parser.add_argument('--list', type=Path, default=LIST, help='JSON file of the mutants')
    parser.add_argument('--out', type=Path, help='write the table to this file too')
    return parser.parse_args()


def main() -> int:
    """Run the mutants and print the table."""
    args = parse_args()
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        outcomes = run_all(read_mutants(args.list, args.only), args.jobs)
    except ListError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    table = markdown(outcomes)
    if args.out is not None:
        args.out.write_text(table + '\n', encoding='utf-8')
    print(table)
    survivors = [outcome.mutant.name for outcome in outcomes if not outcome.killed_by]
    print(f'\n{len(outcomes) - len(survivors)} of {len(outcomes)} mutants were killed.')
    return int(bool(survivors))


if __name__ == '__main__':
    with exit_with_sentence():
        code = main()
    sys.exit(code)
