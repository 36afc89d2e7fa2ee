"""Pieces of HTML; whatever comes from a run is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root { --ink: #1d2733; --soft: #5c6b7a; --line: #dbe1e8; --wash: #f5f7f9; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 60px; max-width: 940px; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header { border-bottom: 2px solid var(--accent); padding-bottom: 14px; margin-bottom: 20px; }
h1 { font-size: 23px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 34px 0 10px; }
p { margin: 6px 0; }
.soft { color: var(--soft); font-size: 13.5px; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 10px;
  margin: 18px 0; }
.tile { background: var(--wash); border: 1px solid var(--line); border-radius: 6px;
  padding: 9px 12px; }
.tile b { display: block; font-size: 20px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 12.5px; overflow-wrap: anywhere; }
.warning { border-left: 4px solid #d55e00; background: #fdf4ee; padding: 8px 12px;
  margin: 8px 0; overflow-wrap: anywhere; }
.fine { border-left: 4px solid #009e73; background: #eff8f4; padding: 8px 12px; margin: 8px 0; }
.scroll { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-size: 14px; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
td { overflow-wrap: anywhere; }
figure { margin: 12px 0; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 4px; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 6px;
  padding: 10px 12px; overflow-x: auto; margin: 8px 0;
  font: 12.5px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
details summary { cursor: pointer; color: var(--accent); margin: 8px 0; }
"""

# Nothing may be loaded or run, whatever a name in the page contains.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, body: Iterable[str], generator: str) -> str:
    """A whole page, which names the tool that has written it."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="generator" content="{escape(generator)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
        + '\n'.join(body)
        + '\n</body>\n</html>\n'
    )


def title(text: str, below: str) -> str:
    """The name of the page and a line under it."""
    return f'<header><h1>{escape(text)}</h1>{paragraph(below, "soft")}</header>'


def heading(text: str) -> str:
    """A section's title."""
    return f'<h2>{escape(text)}</h2>'


def paragraph(text: str, kind: str = '') -> str:
    """Text, in the style of a class."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f'<p>{escape(text)}</p>'


def tiles(pairs: Iterable[tuple[str, str]]) -> str:
    """Large numbers with what they are."""
    cells = (
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in pairs
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], numbers_from: int = 1) -> str:
    """A table.

    Args:
        columns: their titles; none for a table of pairs.
        rows: cells.
        numbers_from: first column that is set as numbers.
    """
    parts = ['<div class="scroll"><table>']
    if columns:
        parts.append(_row('th', columns, numbers_from))
    parts += [_row('td', cells, numbers_from) for cells in rows]
    return ''.join([*parts, '</table></div>'])


def _row(tag: str, cells: Sequence[Any], numbers_from: int) -> str:
    parts = []
    for i, cell in enumerate(cells):
        kind = ' class="number"' if i >= numbers_from else ''
        parts.append(f'<{tag}{kind}>{escape(str(cell))}</{tag}>')
    return f'<tr>{"".join(parts)}</tr>'


def figure(svg: str, caption: str) -> str:
    """An SVG element, taken as it is, and its caption."""
    return (
        f'<figure role="img" aria-label="{escape(caption)}">{svg}'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )


def code(text: str) -> str:
    """A block as written."""
    return f'<pre>{escape(text)}</pre>'


def number(value: float | None) -> str:
    """A number of a run, short; a dash for none."""
    if value is None or math.isnan(value):
        return '-'
    if math.isinf(value):
        return '∞' if value > 0 else '-∞'
    size = abs(value)
    return f'{value:.3f}' if size < 100 else f'{value:.0f}' if size < 1e6 else f'{value:.3g}'


def details(summary: str, inner: str) -> str:
    """A block that opens on a click; ``inner`` is HTML."""
    return f'<details><summary>{escape(summary)}</summary>{inner}</details>'
