"""Compare runs: settings that differ, results, and curves of loss and scores side by side."""

from __future__ import annotations

import argparse

from agvm_runs.comparison import (
    CLOCKS,
    MARK,
    compare_figure,
    difference_table,
    read_course,
    result_table,
    with_scores,
)
from agvm_runs.errors import exit_with_sentence
from agvm_runs.style import paths_of, save


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', help='work directories')
    parser.add_argument('--out', default='comparison', help='path without suffix; PNG and SVG')
    parser.add_argument(
        '--over', choices=list(CLOCKS), default='updates', help='the horizontal axis'
    )
    parser.add_argument(
        '--scores', nargs='+', metavar='KEY', help='as in the log; default the main ones'
    )
    parser.add_argument(
        '--results-only', action='store_true', help='leave out the table of settings that differ'
    )
    return parser.parse_args()


def main() -> None:
    """Read, print the tables, draw, say where."""
    args = parse_args()
    paths_of(args.out, MARK)
    courses = [read_course(run) for run in args.runs]
    if args.scores is not None:
        courses = [with_scores(course, args.scores) for course in courses]
    if not args.results_only:
        differences = difference_table(courses)
        print(differences or 'The settings of these runs do not differ.', end='\n\n')
    print(result_table(courses), end='\n\n')
    for path in save(compare_figure(courses, args.over), args.out, MARK):
        print(path)


if __name__ == '__main__':
    with exit_with_sentence():
        main()
