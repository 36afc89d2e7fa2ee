"""What a long run has shown: a verdict on each point, and a table of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agvm_runs.markdown import markdown_table

from .launch import Records
from .plan import CLAMP, Options, draw_plan

SETTLED = 200  # updates after a start from which on memory should stay what it is
ROUNDING = 1e-9  # of the bounds of a scale
TENSORS = ('weights', 'buffers')

Record = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Args:
        point: what was looked at.
        found: what was seen.
        holds: whether that is as it should be.
    """

    point: str
    found: str
    holds: bool


def judge(
    options: Options,
    records: Records,
    killed: Sequence[int],
    reference: Records | None = None,
    growth: float = 5.0,
) -> list[Finding]:
    """All findings of a run.

    Args:
        options: of the run.
        records: of every rank.
        killed: updates that were made when the ranks were killed.
        reference: of a run with the same faults but without kills.
        growth: percent that a rank's memory may grow.
    """
    plan = draw_plan(options)
    empty = sum(len(ranks) for ranks in plan.empty.values())
    return [
        Finding('updates x ranks', f'{options.updates} x {options.ranks}', True),
        Finding(
            'faults',
            f'{len(plan.nan)} NaN losses, {empty} batches without an object, {len(killed)} kills '
            f'of all ranks (after {", ".join(map(str, killed)) or "no"} updates)',
            len(killed) == len(plan.kills),
        ),
        _equal_weights(options, records),
        *_memory(records, growth),
        _skipped(records, plan.skipped),
        _scales(records),
        *(_kfac(records, plan.skipped) if options.method == 'kfac' else []),
        *([] if reference is None else [_as_without_kills(records, reference)]),
    ]


def markdown(findings: Sequence[Finding]) -> str:
    """The findings as a table."""
    rows = [(f.point, f.found, 'yes' if f.holds else '**no**') for f in findings]
    return markdown_table(['point', 'found', 'as it should be'], rows)


def _equal_weights(options: Options, records: Records) -> Finding:
    """Over the ranks, and over the lives in which an update was made more than once."""
    seen: dict[int, set[tuple[str, ...]]] = {}
    counts: dict[int, int] = {}
    for rank in records:
        for record in rank:
            found = tuple(record[key] for key in TENSORS)
            seen.setdefault(record['update'], set()).add(found)
        for update in {record['update'] for record in rank}:
            counts[update] = counts.get(update, 0) + 1
    wanted = range(options.check, options.updates + 1, options.check)
    complete = [update for update in wanted if counts.get(update) == len(records)]
    finite = {update for update in complete if not any('NaN' in found for found in seen[update])}
    equal = [update for update in complete if len(seen[update]) == 1 and update in finite]
    text = f'at {len(equal)} of {len(wanted)} looks'
    if len(equal) < len(wanted):
        text += f', not at update {next(u for u in wanted if u not in equal)}'
    return Finding(
        'weights and buffers finite and bit for bit equal', text, len(equal) == len(wanted)
    )


def _memory(records: Records, growth: float) -> list[Finding]:
    findings = []
    for rank, entries in enumerate(records):
        last = entries[-1]
        life = [entry for entry in entries if entry['life'] == last['life']]
        first = next((e for e in life if e['update'] - life[0]['update'] >= SETTLED), life[0])
        point = f'resident memory of rank {rank}'
        if last['memory'] is None:
            findings.append(Finding(point, 'not known on this system', True))
            continue
        percent = 100 * (last['memory'] / first['memory'] - 1)
        found = (
            f'{_mib(first)} MiB at update {first["update"]}, {_mib(last)} MiB at update '
            f'{last["update"]}: {percent:+.1f} %'
        )
        findings.append(Finding(point, found, percent <= growth))
    return findings


def _mib(record: Record) -> str:
    return f'{record["memory"] / 2**20:.0f}'


def _skipped(records: Records, expected: int) -> Finding:
    """An estimate is skipped where a loss was NaN, on all ranks, and nowhere else."""
    counts = {rank[-1]['skipped'] for rank in records}
    text = f'{", ".join(map(str, sorted(counts)))}, of {expected} with a NaN loss'
    return Finding('estimates skipped', text, counts == {expected})


def _scales(records: Records) -> Finding:
    values = [scale for rank in records for entry in rank for scale in entry['scales'].values()]
    low, high = (math.sqrt(bound) for bound in CLAMP)
    inside = all(low - ROUNDING <= value <= high + ROUNDING for value in values)
    text = f'{min(values):.3f} to {max(values):.3f}, bounds {low:.3f} to {high:.3f}'
    return Finding('scales', text, inside)


def _kfac(records: Records, expected: int) -> list[Finding]:
    """Factors are skipped as estimates are; every layer has some, and they can be inverted."""
    skipped = {rank[-1]['kfac']['skipped'] for rank in records}
    entries = [entry['kfac'] for rank in records for entry in rank]
    without = max(max(entry['unmeasured'], entry['unsolved']) for entry in entries)
    text = f'{", ".join(map(str, sorted(skipped)))}, of {expected} with a NaN loss'
    return [
        Finding("K-FAC's measurements skipped", text, skipped == {expected}),
        Finding('layers without factors, or whose inversion failed', f'{without}', without == 0),
    ]


def _as_without_kills(records: Records, reference: Records) -> Finding:
    last, other = records[0][-1], reference[0][-1]
    keys = ('update', *TENSORS, 'scales', 'skipped', 'estimates', 'kfac')
    different = [key for key in keys if last[key] != other[key]]
    text = f'other {", ".join(different)}' if different else 'bit for bit the same'
    return Finding('the end without the kills', text, not different)
