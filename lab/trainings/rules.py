"""A recipe at another batch by a rule, as options of its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

RULES: Mapping[str, dict[str, Any]] = {
    'linear': dict(rule='linear'),
    'sqrt': dict(rule='sqrt'),
    'linear-then-sqrt': dict(rule='linear-then-sqrt'),
    'adam-sde': dict(rule='sqrt', adam_sde=True),
}
"""Rules by name: keys of ``auto_scale_lr``."""


def rescaled(cfg: Config, rule: str, batch: int) -> dict[str, Any]:
    """What ``--cfg-options`` has to change so that the launch rescales ``cfg``.

    Args:
        cfg: a recipe with ``total_batch_size``.
        rule: a key of :data:`RULES`.
        batch: images of an update.
    """
    settings = dict(RULES[rule], enable=True, base_batch_size=cfg.total_batch_size)
    return {'total_batch_size': batch} | {
        f'auto_scale_lr.{key}': value for key, value in settings.items()
    }
