"""A cluster as the cost model sees it, read from a small YAML or JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

FORMATS = ('yaml', 'yml', 'json')


@dataclass(frozen=True)
class Link:
    """What joins two processes; the two constants of the alpha-beta model.

    Args:
        latency: alpha, seconds of one hop.
        bandwidth: beta, bytes a second.
    """

    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Cluster:
    """Nodes with some GPUs each.

    Args:
        name: what figures call it.
        gpus_per_node: at least 1.
        inside: between two GPUs of one node.
        between: between two nodes; the bandwidth is that of the whole node.
        memory: bytes a second that one GPU reads or writes.
        call: seconds the host needs for one small operation.
        seconds_per_step: forward, backward and optimizer step, whatever the number of images.
        seconds_per_image: what each image on the GPU adds.
    """

    name: str
    gpus_per_node: int
    inside: Link
    between: Link
    memory: float
    call: float
    seconds_per_step: float
    seconds_per_image: float

    def compute(self, images: float) -> float:
        """Seconds of one step without communication, ``images`` on each GPU."""
        return self.seconds_per_step + self.seconds_per_image * images

    def nodes(self, gpus: int) -> int:
        """Nodes that ``gpus`` GPUs fill, the last one perhaps in part."""
        return math.ceil(gpus / self.gpus_per_node)


def read_cluster(path: str | Path) -> Cluster:
    """The cluster that a file describes.

    Raises:
        ValueError: a key is missing, unknown or out of range, or the file is of another kind.
    """
    kind = Path(path).suffix.lstrip('.')
    if kind not in FORMATS:
        raise ValueError(f'{path} ends in {kind!r}; allowed are {", ".join(FORMATS)}.')
    try:
        text = Path(path).read_text(encoding='utf-8')
        # Not MMEngine's `load`: a YAML file can name functions that it would call.
        values = json.loads(text) if kind == 'json' else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f'{path} cannot be read as YAML or JSON.') from error
    if not isinstance(values, Mapping):
        raise ValueError(f'{path} holds {values!r}; it must be a mapping from key to value.')
    return _cluster(values, str(path))


def _cluster(values: Mapping[str, Any], where: str) -> Cluster:
    _require_keys(values, [field.name for field in fields(Cluster)], where)
    links = {key: _link(values[key], f'{where}: {key}') for key in ('inside', 'between')}
    numbers = {key: values[key] for key in ('memory', 'seconds_per_step', 'seconds_per_image')}
    for key, value in {**numbers, 'call': values['call']}.items():
        _require_number(key, value, where, positive=key == 'memory')
    if not isinstance(values['gpus_per_node'], int) or values['gpus_per_node'] < 1:
        raise ValueError(
            f'{where}: gpus_per_node is {values["gpus_per_node"]!r}; allowed is a whole number, '
            'at least 1.'
        )
    return Cluster(**{**values, **links})


def _link(values: Any, where: str) -> Link:
    if not isinstance(values, Mapping):
        raise ValueError(f'{where} is {values!r}; allowed is {{latency: ..., bandwidth: ...}}.')
    _require_keys(values, ['latency', 'bandwidth'], where)
    _require_number('latency', values['latency'], where, positive=False)
    _require_number('bandwidth', values['bandwidth'], where, positive=True)
    return Link(float(values['latency']), float(values['bandwidth']))


def _require_keys(values: Mapping[str, Any], keys: list[str], where: str) -> None:
    if set(values) != set(keys):
        raise ValueError(
            f'{where} has the keys {sorted(map(str, values))}; needed are {sorted(keys)}.'
        )


def _require_number(key: str, value: Any, where: str, positive: bool) -> None:
    if not isinstance(value, (int, float)) or not (value > 0 or (not positive and value == 0)):
        allowed = 'a positive number' if positive else 'a number, at least 0'
        raise ValueError(f'{where}: {key} is {value!r}; allowed is {allowed}.')
