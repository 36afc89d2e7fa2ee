"""Curricula by name, published ones and a milder one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .stages import Stage

# EfficientTrain fixes the epochs, 60, 20 and 20 % of them, and lets the compute fall.
_ET_COMPUTE = (0.6 * (160 / 224) ** 2, 0.2 * (192 / 224) ** 2, 0.2)

PRESETS: Mapping[str, tuple[Stage, ...]] = MappingProxyType(
    {
        'efficienttrain': (
            Stage(_ET_COMPUTE[0] / sum(_ET_COMPUTE), 160 / 224, (1.0, 3.0, 5.0)),
            Stage(_ET_COMPUTE[1] / sum(_ET_COMPUTE), 192 / 224, (7.0,)),
            Stage(_ET_COMPUTE[2] / sum(_ET_COMPUTE), 1.0, (9.0,)),
        ),
        'efficienttrain++': (
            Stage(0.2, 96 / 224, (0.0, 1.0)),
            Stage(0.4, 160 / 224, (2.0, 3.0, 4.0, 5.0)),
            Stage(0.4, 1.0, (6.0, 7.0, 8.0, 9.0)),
        ),
        # A 32-pixel object is left 16 and 24 pixels, where the sizes above leave 14 and 23.
        'detection': (
            Stage(0.2, 0.5, (0.0, 1.0)),
            Stage(0.4, 0.75, (2.0, 3.0, 4.0, 5.0)),
            Stage(0.4, 1.0, (6.0, 7.0, 8.0, 9.0)),
        ),
    }
)
"""Stages by name; 'detection' is not from the papers."""

BUDGETS: Mapping[str, float] = MappingProxyType({'efficienttrain': sum(_ET_COMPUTE)})
"""Compute of a preset relative to the run at full size, where it is not 1."""
