"""One version, which the changelog dates and the citation names."""

from __future__ import annotations

import re
from pathlib import Path

import agvm_mm

ROOT = Path(__file__).resolve().parents[1]


def test_the_changelog_begins_with_this_version_or_with_what_follows_it() -> None:
    headings = re.findall(r'^## (.+)$', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)
    released = [heading for heading in headings if heading != 'Unreleased']
    assert re.fullmatch(rf'{re.escape(agvm_mm.__version__)} - \d{{4}}-\d\d-\d\d', released[0])
    assert 'Unreleased' not in headings[1:]


def test_the_citation_names_version_and_date_of_the_changelog() -> None:
    citation = (ROOT / 'CITATION.cff').read_text()
    keys = dict(re.findall(r'^(version|date-released): (.+)$', citation, re.MULTILINE))
    heading = f'## {keys["version"]} - {keys["date-released"]}'
    assert keys['version'] == agvm_mm.__version__
    assert heading in (ROOT / 'CHANGELOG.md').read_text().splitlines()


def test_no_result_names_a_path_of_the_machine_that_made_it() -> None:
    names = re.compile(r'["\' ]/(home|root|tmp|work|Users)/')
    kept = [*(ROOT / 'docs/results').rglob('*.json'), *(ROOT / 'docs/results').rglob('*.jsonl')]
    assert [str(path) for path in kept if names.search(path.read_text())] == []
