"""The files and folders of a config's data are looked for before anything is built."""

from __future__ import annotations

import io
import logging
import os.path as osp
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, METRICS, Registry

from .errors import LaunchError, Note, stop_or_warn
from .record import Launch

READ_AS_GIVEN = ('mmdet', 'mmseg', 'agvm_mm')
"""Packages whose metrics open ``ann_file`` as it is, without a ``data_root``."""


def check_training_data(launch: Launch) -> list[Note]:
    """Look for what training and validation read.

    Raises:
        LaunchError: names the first file that does not exist. A dry run warns instead, and every
            launch of a folder.
    """
    return _check(launch, ('train_dataloader', 'val_dataloader', 'val_evaluator'))


def check_test_data(launch: Launch) -> list[Note]:
    """Look for what testing reads.

    Raises:
        LaunchError: names the first file that does not exist; of a folder it warns.
    """
    return _check(launch, ('test_dataloader', 'test_evaluator'))


def _check(launch: Launch, keys: tuple[str, ...]) -> list[Note]:
    scope = launch.cfg.get('default_scope')
    notes: list[Note] = []
    for key in keys:
        metric = key.endswith('evaluator')
        paths = _of_metrics if metric else _of_datasets
        for where, value, path in paths(key, launch.cfg.get(key), scope):
            if ':' in path or osp.exists(path):  # a colon ends the name of a backend
                continue
            said = (
                f'{where} is {value!r}, and {osp.abspath(path)} does not exist; correct it '
                f'{"" if metric else "or data_root "}in the config or with --cfg-options.'
            )
            if where.endswith('ann_file'):
                return notes + stop_or_warn(LaunchError(said), launch.options.dry_run)
            # A file list with absolute paths, or a test without labels, needs no folder.
            notes.append(Note(said, logging.WARNING))
    return notes


def _of_datasets(where: str, entry: Any, scope: str | None) -> Iterator[tuple[str, str, str]]:
    """Key, value and path of all that datasets read, inside of each other or not."""
    if isinstance(entry, (list, tuple)):
        for index, one in enumerate(entry):
            yield from _of_datasets(f'{where}[{index}]', one, scope)
    elif isinstance(entry, dict):
        # Other classes, and RefCOCO and OpenImages, join their paths in ways of their own.
        join = getattr(_class_of(entry, DATASETS, scope), '_join_prefix', None)
        if join is BaseDataset._join_prefix and _is_local(entry):
            yield from _of_dataset(where, entry)
        for key in ('dataset', 'datasets'):
            yield from _of_datasets(f'{where}.{key}', entry.get(key), scope)


def _of_dataset(where: str, entry: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    read = {'ann_file': entry.get('ann_file')}
    for key, value in (entry.get('data_prefix') or {}).items():
        read[f'data_prefix.{key}'] = value
    for key, value in read.items():
        if value and isinstance(value, str):
            yield f'{where}.{key}', value, osp.join(entry.get('data_root') or '', value)


def _of_metrics(where: str, entry: Any, scope: str | None) -> Iterator[tuple[str, str, str]]:
    if isinstance(entry, (list, tuple)):
        for index, one in enumerate(entry):
            yield from _of_metrics(f'{where}[{index}]', one, scope)
    elif isinstance(entry, dict) and isinstance(path := entry.get('ann_file'), str):
        kind = _class_of(entry, METRICS, scope)
        if getattr(kind, '__module__', '').split('.')[0] in READ_AS_GIVEN and _is_local(entry):
            yield f'{where}.ann_file', path, path


def _class_of(entry: dict[str, Any], registry: Registry, scope: str | None) -> Any:
    kind = entry.get('type')
    if not isinstance(kind, str):
        return kind
    # onedl's mmdet prints what it lacks as it is imported.
    with redirect_stdout(io.StringIO()), registry.switch_scope_and_registry(scope) as switched:
        return switched.get(kind)


def _is_local(entry: dict[str, Any]) -> bool:
    backend: str = (entry.get('backend_args') or {}).get('backend', 'local')
    return backend == 'local'
