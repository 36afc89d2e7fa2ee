"""What a run was made with, in words."""

from __future__ import annotations

from typing import Any


def setting_text(value: Any) -> str:
    """A setting for a sentence; None leaves it to the config."""
    return 'as configured' if value is None else str(value)
