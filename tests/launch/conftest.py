"""What the tests of the launch share."""

from __future__ import annotations

import pytest


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds a Runner without asking compilers for their versions, which takes seconds."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
