"""A page has the same words, lists, tables and code on GitHub and on the site.

GitHub follows CommonMark; MkDocs uses Python-Markdown, which indents what is in a list by four
blanks, wants an empty line before a list, and keeps ``\\|`` in the code of a table.
"""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from pathlib import Path

import markdown
import markdown_it
import pytest
from docs_pages import PAGES, ROOT

TAGS = {'a', 'blockquote', 'code', 'em', 'img', 'li', 'ol', 'pre', 'strong', 'td', 'th', 'tr', 'ul'}
TAGS |= {f'h{level}' for level in range(1, 7)}


def github(text: str) -> str:
    return markdown_it.MarkdownIt('commonmark').enable('table').render(text)


def site(text: str) -> str:
    return markdown.markdown(text, extensions=['fenced_code', 'sane_lists', 'tables'])


def tags(html: str) -> Counter[str]:
    return Counter(tag for tag in re.findall(r'<(\w+)', html) if tag in TAGS)


def words(html: str) -> list[str]:
    return unescape(re.sub(r'<[^>]*>', ' ', html)).split()


@pytest.mark.parametrize('page', [*PAGES, ROOT / 'CHANGELOG.md'], ids=lambda page: page.name)
def test_both_show_the_same(page: Path) -> None:
    ours, theirs = site(page.read_text()), github(page.read_text())
    assert tags(ours) == tags(theirs)
    assert words(ours) == words(theirs)


@pytest.mark.parametrize(
    'text',
    [
        'A list:\n- one\n- two\n',
        '- one\n\n      code\n',
        '| a |\n|---|\n| `x \\| y` |\n',
        'a <P g, g>\n',
    ],
)
def test_what_differs_is_found(text: str) -> None:
    ours, theirs = site(text), github(text)
    assert (tags(ours), words(ours)) != (tags(theirs), words(theirs))
