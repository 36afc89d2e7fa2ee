"""One launch: the command line, the config, and what the steps find out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmengine.config import Config

from .errors import Note


@dataclass(frozen=True)
class TrainOptions:
    """What the command line adds to a config; see tools/train.py."""

    amp: bool = False
    auto_scale_lr: bool = False
    resume: str | None = None
    seed: int | None = None
    total_batch_size: int | None = None
    scale_rule: str | None = None
    dry_run: bool = False


@dataclass
class Launch:
    """One launch: what was asked for, and what its steps find out.

    Args:
        cfg: the config; the steps change it in place.
        options: of the command line.
        ranks: of this launch.
        written_batch: the ``total_batch_size`` of the config itself; None if it has none.
        rule: by which the recipe is rescaled; None if by none.
        checkpoint: what the run starts from, to resume or for its weights alone; None if nothing.
        checkpoint_from: what names the checkpoint, for messages.
    """

    cfg: Config
    options: TrainOptions = TrainOptions()
    ranks: int = 1
    written_batch: int | None = None
    rule: str | None = None
    checkpoint: str | None = None
    checkpoint_from: str = 'load_from'


Step = Callable[[Launch], list[Note]]
