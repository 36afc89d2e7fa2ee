"""What the first lines of every optimizer's step do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Closure = Callable[[], Any]


def evaluate(closure: Closure | None) -> Any:
    """The closure's loss, with gradients; None without a closure."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
