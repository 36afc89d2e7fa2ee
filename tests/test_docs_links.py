"""Links, images and anchors of the pages lead somewhere, and every page is linked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_pages import FOLDERS, PAGES, README, ROOT, read

LINK = re.compile(r'\]\(([^)\s]+)\)')


def links(page: Path) -> list[str]:
    """Targets in the prose that do not lead to another host."""
    text = re.sub(r'`[^`]*`', '', '\n'.join(read(page)[0]))
    return [target for target in LINK.findall(text) if not re.match(r'https?://', target)]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings: lower case, no punctuation, hyphens for blanks."""
    titles = [line.lstrip('#').strip() for line in read(page)[0] if re.match(r'#+ ', line)]
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_and_images_resolve(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition('#')
        found = (page.parent / path).resolve() if path else page
        assert found.exists() and found.is_relative_to(ROOT), f'{target} is not there'
        if anchor:
            assert anchor in anchors(found), f'{target}: no such heading'


def test_every_page_and_image_is_reached_from_the_readme() -> None:
    reached, todo = {README}, [README]
    while todo:
        page = todo.pop()
        for target in links(page):
            path = (page.parent / target.partition('#')[0]).resolve()
            if path not in reached:
                reached.add(path)
                todo += [path] if path.suffix == '.md' else []
    folders = (*FOLDERS, 'docs/images')
    files = [path for name in folders for path in ROOT.glob(f'{name}/*') if path.is_file()]
    assert [path.name for path in files if path not in reached] == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_site_lists_the_page_and_those_that_it_links(page: Path) -> None:
    linked = {(page.parent / target.partition('#')[0]).resolve() for target in links(page)}
    for shown in {page, *(path for path in linked if path.suffix == '.md')}:
        entry = f': {shown.relative_to(ROOT)}\n'
        assert (ROOT / 'mkdocs.yml').read_text().count(entry) == 1, entry


def test_there_are_links() -> None:
    assert len(links(README)) > 10
    assert sum('#' in target for page in PAGES for target in links(page)) > 0
