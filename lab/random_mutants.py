"""Break the packages at random places and see what share the default suite notices.

    python -m lab.random_mutants --count 300 --seed 0 --jobs 2 --out random.json
    python -m lab.random_mutants --count 20 --only agvm_mm/kfac --room-only

A mutant is another operator, comparison or number, a statement that is dropped, or two arguments
that are swapped. First the tests of its room run, ``tests/kfac`` for ``agvm_mm/kfac``, beginning
with the files that name most of what the module defines. Only if it survives them the rest of the
default suite runs; ``--room-only`` leaves the rest out. A test that kills has to pass without the
mutant. A mutant that makes the tests hang until ``--limit`` counts as killed and is counted apart.
Some survivors break nothing, such as another bound of a loop that ends earlier: they have to be
read. The JSON file is written after every mutant; the first mutants of a draw are a draw too.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from agvm_runs.errors import exit_with_sentence

from .breaking import copies
from .breaking.copies import FAILURE, TIME_UP, in_copies, replaced, run_tests
from .breaking.sites import Site, find_sites

PACKAGES = ('agvm_mm', 'agvm_runs')
ROOMS = {'distributed': ('tests/gradients', 'tests/kfac')}
"""Rooms whose tests are not in the folder of the same name."""
DEFAULT = ('-m', 'not slow')
# They compare the list of mutants with the source, which every mutant of a listed line changes.
LEFT_OUT = ('tests/lab/test_mutation_check.py', 'tests/lab/test_random_mutants.py')
NEAREST = 2  # files that are collected and run before the others of the room
NO_TESTS = 5  # pytest's exit code

Part = tuple[str, ...]
"""Arguments of pytest: one part of the suite."""


class RandomError(Exception):
    """Nothing can be measured; the message is the sentence that the user reads."""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Args:
        site: which.
        killed_by: the first test that failed, or how pytest ended; empty for a survivor.
        seconds: until it was known.
    """

    site: Site
    killed_by: str
    seconds: float


def choose(root: Path, count: int, seed: int, only: str, room_only: bool) -> list[Site]:
    """Draw sites from those of all files whose path matches ``only``.

    Args:
        root: the checkout.
        count: of sites.
        seed: of the draw.
        only: regular expression.
        room_only: leave out files whose room has no tests of its own.

    Raises:
        RandomError: there are none.
    """
    files = {}
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob('*.py')):
        name = str(path.relative_to(root))
        if re.search(only, name) and (room_tests(root, name) or not room_only):
            files[name] = path.read_text(encoding='utf-8')
    sites = [site for name, text in files.items() for site in find_sites(text, name)]
    random.Random(seed).shuffle(sites)
    broken = (site for site in sites if site.breaks(files[site.file]))
    chosen = list(itertools.islice(broken, count))
    if not chosen:
        raise RandomError(f'--only {only!r} matches no file in which something can be broken.')
    return chosen


def room_tests(root: Path, file: str) -> Part:
    """Arguments of pytest for the tests of a file's room; empty if it has none of its own."""
    room = Path(file).parts[1].removesuffix('.py')
    known = ROOMS.get(room, (f'tests/{room}', f'tests/test_{room}.py'))
    found = tuple(path for path in known if (root / path).exists())
    return (*found, *DEFAULT) if found else ()


def rest_tests(first: Part) -> Part:
    """Arguments of pytest for the default suite without the tests of ``first``."""
    done = [path for path in first if path.startswith('tests/')]
    return ('tests', *DEFAULT, *(f'--ignore={path}' for path in (*done, *LEFT_OUT)))


def parts_of(root: Path, file: str, room_only: bool) -> list[Part]:
    """The parts of the suite that a mutant of ``file`` meets, one after the other."""
    first = room_tests(root, file)
    files = nearest_first(root, file, first)
    parts = [(*some, *DEFAULT) for some in (files[:NEAREST], files[NEAREST:]) if some]
    return parts if room_only else [*parts, rest_tests(first)]


def nearest_first(root: Path, file: str, room: Part) -> list[str]:
    """The test files of a room, those first that name most of what the module ``file`` defines."""
    tree = ast.parse((root / file).read_text(encoding='utf-8'))
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    files = [
        path
        for place in room
        for path in sorted([root / place, *(root / place).rglob('test_*.py')])
        if path.is_file()
    ]
    words = {path: set(re.findall(r'\w+', path.read_text(encoding='utf-8'))) for path in files}
    files.sort(key=lambda path: -len(names & words[path]))
    return [str(path.relative_to(root)) for path in files]


def try_site(limit: float, room_only: bool, root: Path, site: Site) -> Outcome:
    """Put a mutant into the copy ``root``, test it and take it out again.

    Raises:
        RandomError: the test that fails does so without the mutant too.
    """
    path = root / site.file
    start = time.monotonic()
    killer = ''
    parts = parts_of(root, site.file, room_only)
    with replaced(path, site.applied(path.read_text(encoding='utf-8'))):
        for part in parts:
            code, output = run_tests(root, part, limit)
            if code not in (0, NO_TESTS):
                found = FAILURE.search(output)
                killer = found[1] if found else f'exit code {code}'
                break
    if found := re.match('tests/[^ ]+[.]py.*', killer):
        require_green(root, found[0], limit)
    return Outcome(site, killer, time.monotonic() - start)


@cache
def require_green(root: Path, test: str, limit: float) -> None:
    """Stop where a test does not pass in the copy ``root``, which has no mutant.

    Raises:
        RandomError: it does not.
    """
    code, output = run_tests(root, [test], limit)
    if code:
        raise RandomError(f'{test} does not pass without a mutant:\n{output[-3000:]}')


def run_all(sites: Sequence[Site], jobs: int, room_only: bool, limit: float) -> Iterator[Outcome]:
    """Try every site, ``jobs`` at a time, each job in a copy of its own.

    Raises:
        RandomError: a test that kills a mutant does not pass without it.
    """
    copies.preload()
    with tempfile.TemporaryDirectory() as folder:
        yield from in_copies(partial(try_site, limit, room_only), sites, jobs, Path(folder))


def line(outcome: Outcome) -> str:
    """An outcome for a reader."""
    site = outcome.site
    end = f'killed by {outcome.killed_by}' if outcome.killed_by else 'SURVIVED'
    return (
        f'{site.file}:{site.line}: {site.kind}: {site.old!r} -> {site.new!r}: {end} '
        f'({outcome.seconds:.0f} s)'
    )


def report(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Shares, survivors and killed for the JSON file."""
    killed = [outcome for outcome in outcomes if outcome.killed_by]
    every = Counter(outcome.site.kind for outcome in outcomes)
    by_kind = Counter(outcome.site.kind for outcome in killed)
    return {
        'mutants': len(outcomes),
        'killed': len(killed),
        'share': len(killed) / len(outcomes),
        'by_time_limit': sum(outcome.killed_by.startswith(TIME_UP) for outcome in killed),
        'by_kind': {kind: [by_kind[kind], every[kind]] for kind in sorted(every)},
        'survivors': [asdict(outcome.site) for outcome in outcomes if not outcome.killed_by],
        'outcomes': [asdict(outcome) for outcome in outcomes],
    }


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--count', type=int, default=300, help='mutants; default %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='of the draw; default %(default)s')
    parser.add_argument(
        '--only', default='', metavar='PATTERN', help='regular expression for paths of files'
    )
    parser.add_argument('--jobs', type=int, default=1, help='mutants at a time')
    parser.add_argument(
        '--room-only', action='store_true', help='only the tests of the room that is broken'
    )
    parser.add_argument('--limit', type=float, default=3600, help='seconds for a part of the tests')
    parser.add_argument('--out', type=Path, help='JSON file for shares, survivors and outcomes')
    return parser.parse_args()


def main() -> int:
    """Try the mutants; 2 if that cannot be done."""
    args = parse_args()
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {'seed': args.seed, 'only': args.only, 'room_only': args.room_only}
    outcomes = []
    try:
        sites = choose(copies.ROOT, args.count, args.seed, args.only, args.room_only)
        for outcome in run_all(sites, args.jobs, args.room_only, args.limit):
            outcomes.append(outcome)
            print(f'{len(outcomes)}/{len(sites)} {line(outcome)}', file=sys.stderr, flush=True)
            if args.out is not None:
                text = json.dumps({**settings, **report(outcomes)}, indent=1)
                args.out.write_text(text + '\n', encoding='utf-8')
    except RandomError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    killed = sum(bool(outcome.killed_by) for outcome in outcomes)
    print(f'{killed} of {len(outcomes)} mutants were killed, seed {args.seed}.')
    return 0


if __name__ == '__main__':
    with exit_with_sentence():
        code = main()
    sys.exit(code)
