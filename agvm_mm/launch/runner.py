"""From a config file and a command line to a Runner for this machine."""

from __future__ import annotations

import gc
import os.path as osp
from typing import Any

import torch.distributed as dist
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from .. import compat
from .batch import batch_line, restore_updates
from .batch_steps import BATCH
from .checkpoint import check_checkpoint, choose_checkpoint
from .data import check_test_data, check_training_data
from .devices import prepare_devices
from .errors import LaunchError, Note, stop_or_warn
from .machine import count_ranks, enable_amp, prepare_cpu, rank_of, require_gpu_for_amp
from .optim_wrapper import check_optimizer, check_parts
from .quiet import Quiet
from .record import Launch, Step
from .record import TrainOptions as TrainOptions
from .resume import compare_resumed
from .run_length import RunLengthHook
from .watching import log_interval, name_old_keys, watch


def load_config(
    path: str,
    launcher: str = 'none',
    work_dir: str | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> Config:
    """Read a config and the part of the command line that training and testing share.

    A config that a run has written is turned back into optimizer updates first, so that
    ``cfg_options`` count them as in the original (see :mod:`.batch`). The work directory is
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
    return _take(TRAINING, Launch(cfg, options))


def resolve_batch(
    cfg: Config, total_batch_size: int | None = None, scale_rule: str | None = None
) -> Config:
    """Fit a config to the batch of this run, for a script of one's own, and log what changes.

    That is what tools/train.py does with the options of these names::

        cfg = resolve_batch(Config.fromfile(path), total_batch_size=256, scale_rule='sqrt')
        Runner.from_cfg(cfg).train()

    Args:
        cfg: the config, with ``launcher`` as it is started; a config that a run has written is not
            rescaled again.
        total_batch_size: images of an update; None for the config's, or what the ranks make.
        scale_rule: 'linear', 'sqrt', 'linear-then-sqrt' or 'none'; None for the config's.

    Returns:
        ``cfg``, changed in place.

    Raises:
        LaunchError: the batch cannot be had, or the config cannot be rescaled.
    """
    restore_updates(cfg)
    options = TrainOptions(total_batch_size=total_batch_size, scale_rule=scale_rule)
    cfg.setdefault('launcher', 'none')
    notes = _take((_find_ranks, *BATCH), Launch(cfg, options))
    for note in notes if rank_of(cfg.launcher) == 0 else ():
        print_log(note.text, logger='current', level=note.level)
    return cfg


def prepare_testing(cfg: Config, checkpoint: str) -> list[Note]:
    """Change ``cfg`` for testing ``checkpoint`` on this machine.

    Raises:
        LaunchError: the launch cannot work.
    """
    cfg.load_from, cfg.resume = checkpoint, False
    where = 'the second argument of tools/test.py'
    return _take(TESTING, Launch(cfg, checkpoint=checkpoint, checkpoint_from=where))


def print_notes(cfg: Config, notes: list[Note]) -> None:
    """Print the batch of a launch and its notes on rank 0, instead of training."""
    lines = [note.text for note in notes]
    batch = batch_line(cfg, count_ranks(cfg.launcher))
    if rank_of(cfg.launcher) == 0:
        print(*lines, *([] if batch in lines else [batch]), sep='\n')


def build_runner(cfg: Config, notes: list[Note], quiet: Quiet | None = None) -> Any:
    """Build the Runner that ``cfg`` asks for and log the notes (on rank 0, as any log line).

    A :class:`.run_length.RunLengthHook` compares its lengths with the config's, and an
    :class:`OwnConfigHook` keeps the config where the wrapper looks for its total batch. ``quiet``
    is what has taken the place of stdout.
    """
    if quiet is not None:
        quiet.keep_in(cfg.work_dir)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.register_hook(OwnConfigHook())
    runner.register_hook(RunLengthHook())
    if quiet is not None:
        quiet.watch(runner)
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
    except FileNotFoundError as error:
        raise LaunchError(f'a file that the config {path} names is missing: {error}.') from error


def _causes(error: BaseException | None) -> str:
    text = ''
    while error is not None:
        text += str(error)
        error = error.__cause__ or error.__context__
    return text


def _take(steps: tuple[Step, ...], launch: Launch) -> list[Note]:
    return [note for step in steps for note in step(launch)]


def _find_ranks(launch: Launch) -> list[Note]:
    launch.ranks = count_ranks(launch.cfg.launcher)
    prepare_devices(launch.cfg.launcher)
    return []


def _set_precision(launch: Launch) -> list[Note]:
    if launch.options.amp:
        enable_amp(launch.cfg)
    require_gpu_for_amp(launch.cfg)
    return []


def _set_seed(launch: Launch) -> list[Note]:
    cfg, seed = launch.cfg, launch.options.seed
    if seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}
    return []


def _choose_checkpoint(launch: Launch) -> list[Note]:
    launch.checkpoint, notes = choose_checkpoint(launch.cfg, launch.options.resume)
    return notes


def _check_checkpoint(launch: Launch) -> list[Note]:
    compat.allow_own_checkpoints()
    if launch.checkpoint is None:
        return []
    try:
        check_checkpoint(launch.cfg, launch.checkpoint, launch.checkpoint_from)
    except LaunchError as error:
        # Nothing that is printed comes from weights; a run to resume decides what changes.
        return stop_or_warn(error, launch.options.dry_run and not launch.cfg.get('resume'))
    return []


def _prepare_cpu(launch: Launch) -> list[Note]:
    return prepare_cpu(launch.cfg)


TRAINING: tuple[Step, ...] = (
    _find_ranks,
    check_optimizer,
    _set_precision,
    _set_seed,
    _choose_checkpoint,
    watch,
    *BATCH,
    check_parts,
    log_interval,
    _check_checkpoint,
    compare_resumed,
    name_old_keys,
    check_training_data,
    _prepare_cpu,
)
TESTING: tuple[Step, ...] = (_find_ranks, _check_checkpoint, check_test_data, _prepare_cpu)
