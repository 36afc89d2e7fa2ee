"""Random numbers that depend on the epoch alone, so that a resumed run draws the same ones."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, set_random_seed

from ..wrappers.total_batch import require_applied

# Two epochs of one run must not share the ranks' seeds, which are consecutive.
STRIDE = 100_003


@HOOKS.register_module()
class SeedEpochHook(Hook):
    """Seeds Python, NumPy and torch at the start of every epoch.

    A checkpoint does not hold the state of the random generators, so without this hook augmentation
    and RoI sampling differ after a resume. With it, a run that resumes at an epoch's end reaches
    the weights of an uninterrupted one bit for bit, unless the epoch ends inside an update of
    several micro-batches. The seed is ``seed + STRIDE * epoch + rank``, from ``randomness.seed``.
    """

    def before_train(self, runner: Runner) -> None:
        """Stop a run whose config sets a total batch that the launch has not applied."""
        require_applied(runner.cfg)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed all random numbers."""
        set_random_seed(runner.seed + STRIDE * runner.epoch, diff_rank_seed=True)
