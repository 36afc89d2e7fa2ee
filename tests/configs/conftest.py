"""Loading of configs, as the tools do it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import mmengine.config.utils as config_utils
import pytest

from agvm_mm.compat import patch_config_packages


@pytest.fixture(scope='session', autouse=True)
def _packages() -> Iterator[None]:
    """Bases of mmseg resolve; MMEngine reads the metafiles of a package once, not per base."""
    patch_config_packages()
    original = config_utils.load
    config_utils.load = cache(original)
    yield
    config_utils.load = original
