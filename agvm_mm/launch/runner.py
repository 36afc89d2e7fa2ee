"""From a config file and a command line to a Runner for this machine."""

from __future__ import annotations

import gc
import os.path as osp
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from .. import compat
from ..optimizers.library import require_registered
from .amp import enable_amp, require_gpu_for_amp
from .auto_scale import scale_lr, wants_scaling
from .batch_size import apply_total_batch_size, effective_batch, restore_updates
from .distributed import count_ranks, prepare_cpu
from .errors import LaunchError, Note
from .resume import check_resume, chosen_checkpoint, set_resume, takes_directory
from .run_length import RunLengthHook
from .trust import refuse_foreign, require_plain


@dataclass(frozen=True)
class TrainOptions:
    """What the command line adds to a config; see tools/train.py."""

    amp: bool = False
    auto_scale_lr: bool = False
    resume: str | None = None
    seed: int | None = None
    total_batch_size: int | None = None


def load_config(
    path: str,
    launcher: str = 'none',
    work_dir: str | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> Config:
    """Read a config and the part of the command line that training and testing share.

    A config that a run has written is turned back into optimizer updates first, so that
    ``cfg_options`` count them as in the original (see :mod:`.batch_size`). The work directory is
    ``work_dir``, else the config's, else ``./work_dirs/<name of the config>``.

    Raises:
        LaunchError: the file or a package that it needs is missing.
    """
    if not osp.isfile(path):
        raise LaunchError(f'the config {path} does not exist.')
    cfg = _read(path)
    restore_updates(cfg)
    cfg.launcher = launcher
    cfg.merge_from_dict(cfg_options or {})
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('./work_dirs', osp.splitext(osp.basename(path))[0])
    missing = compat.missing_ops_message(cfg.get('default_scope'))
    if missing:
        raise LaunchError(missing)
    return cfg


def prepare_training(cfg: Config, options: TrainOptions) -> list[Note]:
    """Change ``cfg`` for this machine and launch; returns what there is to say about it.

    Raises:
        LaunchError: the launch cannot work.
    """
    ranks = count_ranks(cfg.launcher)
    _check_optimizer(cfg)
    if options.amp:
        enable_amp(cfg)
    require_gpu_for_amp(cfg)
    if options.seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': options.seed}
    notes = set_resume(cfg, options.resume) + check_resume(cfg) + _set_batch(cfg, options, ranks)
    _check_checkpoint(cfg, 'load_from')
    return notes + prepare_cpu(cfg)


def prepare_testing(cfg: Config, checkpoint: str) -> list[Note]:
    """Change ``cfg`` for testing ``checkpoint`` on this machine.

    Raises:
        LaunchError: the launch cannot work.
    """
    cfg.load_from = checkpoint
    cfg.resume = False
    count_ranks(cfg.launcher)
    _check_checkpoint(cfg, 'the second argument of tools/test.py')
    return prepare_cpu(cfg)


def build_runner(cfg: Config, notes: list[Note]) -> Any:
    """Build the Runner that ``cfg`` asks for and log the notes (on rank 0, as any log line).

    A :class:`.run_length.RunLengthHook` compares its lengths with the config's, and an
    :class:`OwnConfigHook` keeps the config where the wrapper looks for its total batch.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.register_hook(OwnConfigHook())
    runner.register_hook(RunLengthHook())
    for note in notes:
        print_log(note.text, logger='current', level=note.level)
    return runner


class OwnConfigHook(Hook):
    """Keeps this run's config in the message hub, where a resume puts that of the run before."""

    def before_run(self, runner: Any) -> None:
        """Keep the config, which MMEngine has just entered."""
        self._config = runner.message_hub.get_info('cfg')

    def before_train(self, runner: Any) -> None:
        """Put it back."""
        runner.message_hub.update_info('cfg', self._config)


def leave_process_group() -> None:
    """End the process group at the end of a run, when the caller has let go of the Runner.

    A thread of gloo may still hold the last message, needs the interpreter to free it, and aborts
    the process if that has ended. Without a model that holds the group, torch waits for the thread.
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()


def _read(path: str) -> Config:
    try:
        return Config.fromfile(path)
    except ImportError as error:
        # custom_imports of a detector's package without mmcv's operators
        if not compat.has_compiled_ops() and 'mmcv._ext' in _causes(error):
            raise LaunchError(str(compat.missing_ops_message('mmdet'))) from error
        raise


def _check_optimizer(cfg: Config) -> None:
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    try:
        require_registered(optimizer.get('type'), cfg.get('default_scope'))
    except ValueError as error:
        raise LaunchError(str(error)) from None


def _check_checkpoint(cfg: Config, where: str) -> None:
    compat.allow_own_checkpoints()
    checkpoint = chosen_checkpoint(cfg)
    if checkpoint is None:
        return
    if cfg.get('resume'):  # check_resume has looked for damage
        refuse_foreign(checkpoint, '--resume')
    else:
        require_plain(checkpoint, where, takes_directory(cfg))


def _causes(error: BaseException | None) -> str:
    text = ''
    while error is not None:
        text += str(error)
        error = error.__cause__ or error.__context__
    return text


def _set_batch(cfg: Config, options: TrainOptions, ranks: int) -> list[Note]:
    """Total batch first, then the learning rate that goes with it."""
    written = cfg.get('total_batch_size')
    notes = apply_total_batch_size(cfg, ranks, options.total_batch_size)
    if options.auto_scale_lr or wants_scaling(cfg):
        notes.append(scale_lr(cfg, effective_batch(cfg, ranks), written))
    return notes
