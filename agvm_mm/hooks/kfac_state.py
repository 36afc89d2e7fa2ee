"""The factors of all ranks in every checkpoint."""

from __future__ import annotations

from functools import wraps
from inspect import signature
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..parts import KFACPart
from ..wrappers import PartsMixin


@HOOKS.register_module()
class KFACStateHook(Hook):
    """Collects K-FAC's factors on rank 0 before a checkpoint is written there.

    The rank that writes a checkpoint owns a part of the layers only. Every rank calls the runner's
    ``save_checkpoint``, which goes on on one of them, so that is where they are collected. Without
    this hook a resumed run measures its factors anew, and is another run from there on.
    """

    def before_train(self, runner: Runner) -> None:
        """Wrap the runner's ``save_checkpoint``."""
        wrapper, save = runner.optim_wrapper, runner.save_checkpoint
        part = wrapper.part(KFACPart) if isinstance(wrapper, PartsMixin) else None
        if part is None:
            return
        arguments = signature(save)

        @wraps(save)
        def save_checkpoint(*args: Any, **kwargs: Any) -> None:
            if arguments.bind(*args, **kwargs).arguments.get('save_optimizer', True):
                part.gather()
            save(*args, **kwargs)
            part.release()

        runner.save_checkpoint = save_checkpoint
