"""A drawn grid of positions instead of all of a convolution's inputs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from kfac_nets import distance, factors_of, kfac_of, train_mixed
from ranks import run_ranks
from torch import Tensor, nn

from agvm_mm.kfac import factors, sampling
from agvm_mm.kfac.sampling import EVERY, Grid, draw_grid

CONVOLUTIONS = [
    dict(kernel_size=3, padding=1),
    dict(kernel_size=(2, 3), stride=(2, 1), padding=(0, 2), groups=2),
    dict(kernel_size=3, dilation=2, padding=1, stride=2),
    dict(kernel_size=1),
]


@pytest.mark.parametrize('options', CONVOLUTIONS)
def test_the_mean_over_all_draws_is_the_whole(options: dict[str, Any]) -> None:
    conv = nn.Conv2d(4, 2, **options).double()
    images = torch.randn(3, 4, 9, 8, dtype=torch.float64)

    def outer(grid: Grid) -> Tensor:
        columns = torch.cat(list(factors.patches(conv, images, grid)), 2)
        return grid.weight * columns @ columns.mT

    draws = [outer(Grid(3, row, column)) for row in range(3) for column in range(3)]
    torch.testing.assert_close(sum(draws) / 9, outer(EVERY))
    assert max(float((draw - sum(draws) / 9).norm()) for draw in draws) > 1.0


def test_positions_of_a_grid_are_those_of_the_whole() -> None:
    conv = nn.Conv2d(2, 1, 3, stride=2, padding=1)
    image = torch.randn(1, 2, 12, 16)
    (whole,), (some,) = (
        list(factors.patches(conv, image, grid)) for grid in (EVERY, Grid(2, 1, 0))
    )
    by_place = whole.unflatten(2, (6, 8))
    assert torch.equal(some, by_place[:, :, 1::2, ::2].flatten(2))


def test_every_grid_is_as_likely_as_any_other() -> None:
    drawn = Counter(draw_grid(10, 40, 100, f'{update} layer') for update in range(4000))
    assert set(drawn) == {Grid(2, row, column) for row in (0, 1) for column in (0, 1)}
    assert all(abs(count - 1000) < 150 for count in drawn.values())  # 5 standard deviations
    assert draw_grid(10, 40, 100, 'a') == draw_grid(10, 40, 100, 'a')


@pytest.mark.parametrize(
    ('size', 'limit', 'step'),
    [((8, 8), None, 1), ((8, 8), 64, 1), ((8, 8), 17, 1), ((8, 8), 16, 2), ((8, 9), 8, 3),
     ((2, 800), 16, 2), ((1, 99), 1, 1)],
)  # fmt: skip
def test_steps(size: tuple[int, int], limit: int | None, step: int) -> None:
    assert draw_grid(*size, limit, '').step == step


def test_any_number_of_ranks_draws_the_same() -> None:
    options = dict(dtype=torch.float64, max_positions=4)
    alone, all_positions = train_mixed(0, 1, **options), train_mixed(0, 1, dtype=torch.float64)
    micro = train_mixed(0, 1, 2, **options)
    first, second = run_ranks(_train, 2, options)
    assert torch.equal(first['weights'], second['weights'])
    for found in (micro, first):
        assert distance(found['weights'], alone['weights']) < 1e-12
        for name, factor in factors_of(found).items():
            assert distance(factor, factors_of(alone)[name]) < 1e-12, name
    assert distance(all_positions['weights'], alone['weights']) > 1e-4


def _train(rank: int, options: dict[str, Any]) -> dict[str, Any]:
    return train_mixed(rank, 2, **options)


def test_another_update_and_another_layer_draw_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    kfac, seeds = kfac_of(network, max_positions=1), []
    monkeypatch.setattr(sampling, 'Random', lambda seed: seeds.append(seed) or _First())
    for update in (3, 4):
        kfac.before_update(update)
        with kfac.around_backward(0, 1, 2):
            network(torch.ones(2, 1, 4, 4)).mean().backward()
    assert seeds == ['3 1 4', '3 0 4', '4 1 4', '4 0 4']


class _First:
    def randrange(self, stop: int) -> int:
        return 0


@pytest.mark.parametrize('value', [0, -1, 2.5, True, 'all'])
def test_a_wrong_limit_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r'kfac.*max_positions.*None or a whole number'):
        kfac_of(nn.Linear(1, 1), max_positions=value)
