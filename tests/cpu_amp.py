"""MMEngine's mixed-precision wrapper on a CPU, where it refuses to be built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import pytest
import torch

MISSING = not hasattr(torch.amp, 'GradScaler')
REASON = 'torch has a loss scaler for the CPU since 2.3'
needs_loss_scaler = pytest.mark.skipif(MISSING, reason=REASON)
MODULE = 'mmengine.optim.optimizer.amp_optimizer_wrapper'


@contextmanager
def on_cpu(wrapper_type: str, **scaler: Any) -> Iterator[None]:
    """Lets ``AmpOptimWrapper`` and its children be built here, with a real CPU loss scaler."""
    if 'Amp' not in wrapper_type:
        yield
        return
    if MISSING:
        pytest.skip(REASON)
    options = dict(init_scale=1024.0, growth_interval=3, **scaler)
    with (
        mock.patch(f'{MODULE}.is_cuda_available', lambda: True),
        mock.patch('agvm_mm.launch.machine.get_device', lambda: 'cuda'),
        mock.patch(f'{MODULE}.GradScaler', partial(torch.amp.GradScaler, 'cpu', **options)),
    ):
        yield
