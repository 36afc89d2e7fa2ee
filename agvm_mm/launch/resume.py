"""What a resumed run takes from its checkpoint rather than from the config, said at the start.

MMEngine enters whatever a checkpoint holds and goes on without the rest: optimizer and schedules of
the checkpoint replace the config's, and where it holds neither, the learning rate starts at its
first value again while the iterations go on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from mmengine.config import Config

from agvm_runs.work_dir import read_literals

from ..compat import is_local_checkpoint
from .errors import LaunchError, Note
from .record import Launch

SHOWN = 4  # differences in a sentence


def compare_resumed(launch: Launch) -> list[Note]:
    """Compare the checkpoint of a resumed run with the config; nothing for a run from weights.

    Raises:
        LaunchError: the checkpoint holds weights alone.
    """
    cfg, path = launch.cfg, launch.checkpoint
    if not cfg.get('resume') or path is None or not is_local_checkpoint(str(path)):
        return []
    path = os.path.expanduser(path)
    if not is_zipfile(path):  # a directory of DeepSpeed or FSDP, or torch before 1.6
        return []
    try:  # tensors stay on the disk
        checkpoint = torch.load(path, map_location='cpu', mmap=True, weights_only=True)
    except UnpicklingError:  # torch before 2.6 reads no histories so, nor what the user trusts
        return []
    meta = checkpoint.get('meta')
    if not isinstance(meta, Mapping) or 'iter' not in meta:
        raise LaunchError(
            f'{path} cannot be resumed from: it holds weights and no run; set load_from={path!r} '
            'to start a new run from them, or resume from a checkpoint of training.'
        )
    sentences = [*_missing(path, checkpoint), *_differences(path, cfg, meta)]
    return [Note(sentence, logging.WARNING) for sentence in sentences]


def _missing(path: str, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    parts = {'optimizer': 'optimizer state', 'param_schedulers': 'schedules'}
    missing = [name for key, name in parts.items() if key not in checkpoint]
    if missing:
        yield (
            f'{path} holds no {" and no ".join(missing)}, as a best_*.pth or with '
            'save_optimizer=False: they start anew, the learning rate at its first value, while '
            'the iterations go on. For the same weights as without interruption resume from a '
            'checkpoint with both.'
        )


def _differences(path: str, cfg: Config, meta: Mapping[str, Any]) -> Iterator[str]:
    text = meta.get('cfg')
    before = read_literals(text) if isinstance(text, str) else {}
    if not before:
        return
    now = read_literals(cfg.pretty_text)
    found = list(_unequal('', _what_resumes(before), _what_resumes(now)))
    if found:
        shown = [f'{where} is {a!r} there and {b!r} in the config' for where, a, b in found[:SHOWN]]
        more = f' (and {len(found) - SHOWN} more)' if len(found) > SHOWN else ''
        yield (
            f'The run goes on with optimizer and schedules of {path}, not with those of the '
            f'config: {", ".join(shown)}{more}. To train with the config, start a new run with '
            f'load_from={path!r}.'
        )


def _what_resumes(settings: Mapping[str, Any]) -> dict[str, Any]:
    wrapper = settings.get('optim_wrapper')
    optimizer = wrapper.get('optimizer') if isinstance(wrapper, Mapping) else None
    scheduler = settings.get('param_scheduler') or []
    listed = scheduler if isinstance(scheduler, list) else [scheduler]
    schedules = {f'param_scheduler[{i}]': entry for i, entry in enumerate(listed)}
    return {'optim_wrapper.optimizer': optimizer, **schedules}


def _unequal(where: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            place = f'{where}.{key}' if where else str(key)
            yield from _unequal(place, before.get(key), now.get(key))
    elif before != now:
        yield where, before, now
