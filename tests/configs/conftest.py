"""Loading of configs, as the tools do it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import mmengine.config.utils as config_utils
import pytest

import agvm_mm  # noqa: F401  makes bases of mmseg resolve


@pytest.fixture(scope='session', autouse=True)
def _packages() -> Iterator[None]:
    """MMEngine reads the metafiles of a package once, not per base."""
    original = config_utils.load
    config_utils.load = cache(original)
    yield
    config_utils.load = original
