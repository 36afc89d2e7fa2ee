"""What pytest and the helpers beside the tests need of the folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def test_no_two_modules_share_a_name():
    """Without packages in tests/, the second of two equal names would not be imported."""
    names = Counter(path.name for path in Path(__file__).parent.rglob('*.py'))
    names.pop('conftest.py')
    assert [name for name, count in names.items() if count > 1] == []
