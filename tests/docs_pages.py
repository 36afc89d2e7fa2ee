"""The pages that a reader sees, split into prose and code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / 'README.md'
FOLDERS = ('docs', 'docs/contributing')  # for users, and for those who change the code
PAGES = [
    README,
    ROOT / 'CONTRIBUTING.md',
    *(page for folder in FOLDERS for page in sorted(ROOT.glob(f'{folder}/*.md'))),
]
# Only on the site, where mkdocstrings makes their content of the docstrings.
REFERENCE = sorted(ROOT.glob('docs/site/pages/reference/*.md'))


class Block(NamedTuple):
    """Some code of a page; ``language`` is '' for an indented block."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f'{self.page.name}:{self.line}'


def read(page: Path) -> tuple[list[str], list[Block]]:
    """Lines of prose, and the blocks of code that stand between them."""
    prose: list[str] = []
    blocks: list[Block] = []
    code: list[str] = []
    fence, in_list = '', False
    for number, line in enumerate([*page.read_text().splitlines(), ''], 1):
        if line.startswith('```'):
            if fence:
                blocks.append(Block(page, number - len(code), fence, '\n'.join(code)))
            fence, code = ('' if fence else line.strip('`') or 'text'), []
        elif fence:
            code.append(line)
        elif line.startswith('    ') and not in_list:
            code.append(line[4:])
        else:
            if code and line:
                blocks.append(Block(page, number - len(code) - 1, '', '\n'.join(code)))
                code = []
            elif code:
                code.append('')
            if line:
                in_list = bool(re.match(r'([-*]|\d+\.) ', line)) or (in_list and line[0] == ' ')
                prose.append(line)
    if code:
        blocks.append(Block(page, number - len(code), '', '\n'.join(code)))
    return prose, blocks


def blocks_of(pages: list[Path], *languages: str) -> list[Block]:
    return [block for page in pages for block in read(page)[1] if block.language in languages]
