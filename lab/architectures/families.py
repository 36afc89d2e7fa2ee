"""One network of every family in the model zoos, without weights."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

ZOOS = ('mmdet', 'mmseg')


def family_configs(zoo: str) -> Iterator[tuple[str, list[Path]]]:
    """Every family of ``zoo`` and its configs, those with a ResNet-50 and a short name first."""
    folder = Path(str(importlib.import_module(zoo).__file__)).parent / '.mim' / 'configs'
    for family in sorted(path for path in folder.iterdir() if not path.name.startswith('_')):
        configs = [path for path in family.glob('*.py') if 'tta' not in path.stem]
        yield family.name, sorted(configs, key=lambda p: ('r50' not in p.stem, len(p.stem), p.stem))


def build_network(zoo: str, path: Path) -> nn.Module:
    """The network of a config; on the meta device if its constructor needs no numbers.

    Raises:
        Exception: whatever a constructor raises where something that it needs is not installed.
    """
    importlib.import_module(f'{zoo}.models')
    registry = importlib.import_module(f'{zoo}.registry').MODELS
    model = family_model(path)
    with DefaultScope.overwrite_default_scope(zoo):
        try:
            with torch.device('meta'):
                network: nn.Module = registry.build(copy.deepcopy(model))
        except (RuntimeError, NotImplementedError):
            network = registry.build(model)
    return network


def family_model(path: Path) -> Any:
    """The ``model`` of a config, which names no files of weights."""
    return _without_weights(Config.fromfile(path).model)


_FILES = ('pretrained', 'init_cfg', 'teacher_ckpt')


def _without_weights(value: Any) -> Any:
    """The same without files of weights, so that nothing is read or fetched."""
    if isinstance(value, dict):
        for key in value:
            value[key] = None if key in _FILES else _without_weights(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            _without_weights(item)
    return value
