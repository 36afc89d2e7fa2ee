"""The replay buffer on its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agvm_mm.curriculum.replay import ReplayBuffer


def batch(*values: int) -> dict[str, list[Any]]:
    samples = [dict(box=[value]) for value in values]
    return dict(inputs=[torch.tensor(value) for value in values], data_samples=samples)


def test_first_in_first_out_and_never_more_than_its_size() -> None:
    buffer = ReplayBuffer(2)
    drawn = set()
    for step in range(20):
        data = batch(2 * step, 2 * step + 1)
        buffer.extend(data, 3, (0, 0, step))
        assert len(data['inputs']) == len(data['data_samples']) == 6
        assert len(buffer) == min(4, 2 * step + 2)
        values = [int(value) for value in data['inputs']]
        assert values[:2] == [2 * step, 2 * step + 1]
        assert min(values) >= 2 * step - 2
        assert [sample['box'] for sample in data['data_samples']] == [[v] for v in values]
        drawn |= {value - 2 * step for value in values[2:]}
    assert drawn == {-2, -1, 0, 1}, 'drawn from all that is kept, the fresh ones among them'


def test_draws_are_copies_that_nobody_shares() -> None:
    buffer = ReplayBuffer(1)
    first, second = batch(5), batch(5)
    buffer.extend(first, 4, (1,))
    for sample in first['data_samples']:
        sample['box'][0] *= 2
    for image in first['inputs']:
        image.mul_(2)
    assert [sample['box'] for sample in first['data_samples']] == [[10]] * 4
    buffer.extend(second, 2, (2,))
    assert second['data_samples'][1]['box'] == [5] and int(second['inputs'][1]) == 5


def test_the_seed_decides() -> None:
    def draw(seed: tuple[int, ...]) -> list[int]:
        buffer, data = ReplayBuffer(4), batch(*range(16))
        buffer.extend(data, 3, seed)
        return [int(value) for value in data['inputs']]

    assert draw((0, 0, 1)) == draw((0, 0, 1)) != draw((0, 1, 1))


def test_collated_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="allowed is collate_fn=dict\\(type='pseudo_collate'\\)"):
        ReplayBuffer(1).extend(dict(inputs=torch.zeros(2, 3)), 2, (0,))
