"""Turns the Sphinx roles of docstrings into Markdown, which mkdocstrings reads."""

import re
from typing import Any

import griffe

ROLE = re.compile(r':\w+:`[~.]*([^`]+)`')
LITERAL_BLOCK = re.compile(r'::(?=\n\s*\n)')


class MarkdownDocstrings(griffe.Extension):
    """``:func:`attach``` becomes code, and ``::`` before an indented block a colon."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            text = ROLE.sub(r'`\1`', obj.docstring.value)
            obj.docstring.value = LITERAL_BLOCK.sub(':', text)
