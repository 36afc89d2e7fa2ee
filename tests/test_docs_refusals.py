"""Every refusal that docs/training.md quotes is said by the code and expected by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _flat(paths: list[Path]) -> str:
    """Source text with adjoining string literals joined."""
    text = '\n'.join(path.read_text() for path in paths)
    return re.sub(r"""['"]\s*\n\s*f?['"]""", '', text)


def _rows() -> list[tuple[str, list[str]]]:
    rows = []
    for line in (ROOT / 'docs' / 'training.md').read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if len(cells) == 4 and cells[1] == 'refused':
            rows += [
                (quote, re.findall(r'`(\S+)`', cells[3]))
                for quote in re.findall(r'"([^"]+)"', cells[2])
            ]
    return rows


SOURCE = _flat(sorted((ROOT / 'agvm_mm').rglob('*.py')))


@pytest.mark.parametrize(('quote', 'tests'), _rows(), ids=lambda value: str(value)[:40])
def test_a_quoted_refusal_is_said_by_the_code(quote, tests):
    assert quote in SOURCE
    assert tests
    for name in tests:
        assert list((ROOT / 'tests').rglob(f'{Path(name).name}.py')), name


def test_there_are_refusals():
    assert len(_rows()) >= 10


def test_every_test_file_named_on_the_page_exists():
    page = (ROOT / 'docs' / 'training.md').read_text()
    names = set(re.findall(r'`(?:launch/)?(test_\w+)`', page))
    assert len(names) > 10
    missing = [name for name in names if not list((ROOT / 'tests').rglob(f'{name}.py'))]
    assert missing == []
