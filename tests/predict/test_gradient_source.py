"""Data loaders of every kind that configs have, as the prediction uses them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS
from quality_toy import write_config
from torch.utils.data import Sampler

from agvm_mm.predict.gradients import GradientSource


@DATA_SAMPLERS.register_module(force=True)
class GroupedBatches(Sampler):
    """Like AspectRatioBatchSampler: batches from a sampler that it holds."""

    def __init__(self, sampler: Any, batch_size: int) -> None:
        self.sampler, self.batch_size = sampler, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]


def _source(folder: Path, **loader: Any) -> GradientSource:
    path = write_config(folder)
    cfg = Config.fromfile(str(path))
    cfg.train_dataloader = {**cfg.train_dataloader, **loader}
    cfg.dump(str(path))
    return GradientSource(path, images=2)


def _drawn(source: GradientSource, batches: int) -> list[Any]:
    return [source.next_batch() for _ in range(batches)]


@pytest.mark.parametrize(
    'loader',
    [
        dict(batch_sampler=dict(type='GroupedBatches')),
        dict(sampler=dict(type='InfiniteSampler', shuffle=True)),
    ],
)
def test_gradients_go_on_over_epochs(tmp_path: Path, loader: dict[str, Any]) -> None:
    source = _source(tmp_path, **loader)
    assert len(list(source.gradients(40))) == 40  # 32 images, two a batch
    source.restart()
    assert len(_drawn(source, 3)) == 3


def test_the_sampler_inside_a_batch_sampler_gets_the_epoch(tmp_path: Path) -> None:
    source = _source(tmp_path, batch_sampler=dict(type='GroupedBatches'))
    _drawn(source, 33)
    assert source._loader.batch_sampler.sampler.epoch == 2


def test_a_sampler_with_a_batch_of_its_own(tmp_path: Path) -> None:
    sampler = dict(type='MultiSourceSampler', batch_size=5, source_ratio=[1, 4])
    with pytest.raises(ValueError, match=r'batches of 5 images .* --images is 2: give --images 5'):
        _source(tmp_path, sampler=sampler)
