"""The plain loop of examples/ trains for real, on one rank and on two."""

from __future__ import annotations

import math

from ranks import run_ranks

import plain_loop

MODULES = ['backbone', 'neck', 'cls_head', 'box_head']


def phis(handle: plain_loop.agvm_mm.Handle) -> dict[str, float]:
    return {name: handle.scalars()[f'agvm/phi/{name}'] for name in MODULES}


def test_one_process_measures_every_module() -> None:
    handle = plain_loop.train(12)
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]] for line in handle.table().splitlines()
    ]
    assert [row[0] for row in rows[2:]] == MODULES
    assert all(0 < phi < 2 for phi in phis(handle).values())
    assert handle.updates == 12
    scales = [float(row[5]) for row in rows[2:]]
    assert scales[0] == 1 and all(math.sqrt(0.5) - 1e-3 <= s <= math.sqrt(10) for s in scales)


def _on_a_rank(rank: int) -> dict[str, float]:
    return phis(plain_loop.train(6))


def test_two_ranks_agree() -> None:
    first, second = run_ranks(_on_a_rank, 2)
    assert first == second and set(first) == set(MODULES)
