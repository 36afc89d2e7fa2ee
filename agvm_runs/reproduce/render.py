"""A table for the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ..markdown import markdown_table
from .figures import Source
from .rows import Row
from .table import Table

COLUMNS = (
    'batch',
    'method',
    'GPUs x images',
    'published',
    'secondary',
    'measured',
    'difference',
    'seeds',
    'running',
)
STYLES = {'published': 'bold', 'secondary': 'dim italic', 'running': 'yellow'}
TO_SECONDARY = ' (sec.)'


def cells(row: Row) -> tuple[str, ...]:
    """The texts of :data:`COLUMNS`."""
    known = '' if row.figure is None else str(row.figure)
    published = row.figure is not None and row.figure.source.published
    return (
        str(row.batch),
        row.method if row.config else f'{row.method} (quoted)',
        '' if row.plan is None else f'{row.plan.gpus} x {row.plan.images}',
        known if published else '',
        '' if published else known,
        measured(row),
        _difference(row),
        ', '.join('?' if seed is None else str(seed) for seed in row.seeds),
        '; '.join(row.running),
    )


def measured(row: Row) -> str:
    """Mean, from two runs on ± sample standard deviation, and how many runs."""
    if row.mean is None:
        return ''
    spread = '' if row.spread is None else f' ± {row.spread:.2f}'
    return f'{row.mean:.2f}{spread} (n={len(row.scores)})'


def _difference(row: Row) -> str:
    if row.difference is None or row.figure is None:
        return ''
    return f'{row.difference:+.2f}' + ('' if row.figure.source.published else TO_SECONDARY)


def by_model(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each model, in their order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.model, []).append(row)
    return groups


def _sources(rows: Sequence[Row]) -> list[str]:
    """The sources of the figures of ``rows``, one line each."""
    lines = []
    for source in Source:
        places = [
            f'{row.method} at {row.batch}'
            for row in rows
            if row.figure is not None and row.figure.source is source
        ]
        if places:
            lines.append(f'{source.value}: {", ".join(places)}')
    return lines


def to_terminal(
    table: Table, rows: Sequence[Row], console: Console, results: bool, commands: bool
) -> None:
    """Print the results and the commands, or one of them."""
    if results:
        for model, group in by_model(rows).items():
            console.print(_grid(f'{table.title}: {model}, {table.metric}', group))
        for line in [*_sources(rows), *table.notes]:
            console.print(Text(line, style='dim'))
        console.print()
    if commands:
        for row in rows:
            for line in _command_lines(row):
                console.print(Text(line), soft_wrap=True)  # unbroken, to be copied


def _grid(title: str, rows: Sequence[Row]) -> Grid:
    """Columns in which nothing stands are left out, but for those that a reader looks for."""
    texts = [cells(row) for row in rows]
    grid = Grid(title=title, title_justify='left', box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    kept = []
    for i, name in enumerate(COLUMNS):
        if name in ('secondary', 'seeds', 'running') and not any(text[i] for text in texts):
            continue
        kept.append(i)
        numeric = name in ('batch', 'published', 'measured', 'difference')
        grid.add_column(
            name,
            style=STYLES.get(name),
            justify='right' if numeric else 'left',
            no_wrap=name != 'running',
        )
    for text, following in zip(texts, [*texts[1:], texts[-1]]):
        grid.add_row(*(text[i] for i in kept), end_section=text[0] != following[0])
    return grid


def _command_lines(row: Row) -> list[str]:
    cell = f'{row.model}, {row.method}, batch {row.batch}'
    if row.plan is None:
        return [f'# {cell}: no command, {row.obstacle}', ''] if row.obstacle else []
    plan = row.plan
    head = f'{cell}: {plan.gpus} GPUs x {plan.images} images'
    if plan.micro_batches > 1:
        head += f' x {plan.micro_batches} micro-batches'
    time = plan.time or 'not known; give --seconds-per-image'
    return [f'# {head}; expected time: {time}', plan.torchrun, plan.slurm, '']


def to_markdown(table: Table, rows: Sequence[Row], results: bool, commands: bool) -> str:
    """The same as Markdown."""
    lines = [f'## {table.title}', '']
    if results:
        for model, group in by_model(rows).items():
            lines += [f'### {model}, {table.metric}', '']
            lines += [markdown_table(COLUMNS, map(cells, group)), '']
        lines += [f'- {line}' for line in [*_sources(rows), *table.notes]]
        lines.append('')
    if commands:
        block = [line for row in rows for line in _command_lines(row)]
        lines += ['```bash', *block[:-1], '```', '']
    return '\n'.join(lines)


CSV_COLUMNS = (
    'table',
    'metric',
    'model',
    'method',
    'batch',
    'config',
    'gpus',
    'images_per_gpu',
    'micro_batches',
    'published',
    'secondary_source',
    'outcome',
    'source',
    'mean',
    'standard_deviation',
    'runs',
    'seeds',
    'difference',
    'running',
    'expected_time',
    'torchrun',
    'slurm',
    'no_command',
)


def to_csv(rows_by_table: Mapping[str, tuple[Table, Sequence[Row]]]) -> str:
    """All tables as one CSV with unrounded numbers."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator='\n')
    writer.writeheader()
    for name, (table, rows) in rows_by_table.items():
        for row in rows:
            writer.writerow({'table': name, 'metric': table.metric, **_csv_row(row)})
    return out.getvalue()


def _csv_row(row: Row) -> dict[str, object]:
    figure, plan = row.figure, row.plan
    entry: dict[str, object] = dict(
        model=row.model,
        method=row.method,
        batch=row.batch,
        config=row.config,
        mean=row.mean,
        standard_deviation=row.spread,
        runs=len(row.scores),
        seeds=' '.join('?' if seed is None else str(seed) for seed in row.seeds),
        difference=row.difference,
        running='; '.join(row.running),
        no_command=row.obstacle,
    )
    if figure is not None:
        kind = 'published' if figure.source.published else 'secondary_source'
        entry.update({kind: figure.value, 'outcome': figure.outcome, 'source': figure.source.value})
    if plan is not None:
        entry.update(
            gpus=plan.gpus,
            images_per_gpu=plan.images,
            micro_batches=plan.micro_batches,
            expected_time=plan.time,
            torchrun=plan.torchrun,
            slurm=plan.slurm,
        )
    return entry
