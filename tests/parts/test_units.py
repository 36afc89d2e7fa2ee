"""Adaptive gradient clipping against hand-made numbers, its definition and the library's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agvm_mm.parts.units import clip_units_, view_transposed_units, view_units

SHAPES = [
    (4, 3, 3, 3),
    (4, 1, 3, 3),
    (5, 7),
    (1, 7),
    (5,),
    (),
    (100, 8),
    (6, 5, 3),
    (3, 2, 3, 3, 3),
]


def clip(weight: Any, gradient: Any, clip_factor: float = 0.01, mode: str = 'vector') -> Tensor:
    weight = torch.as_tensor(weight, dtype=torch.float64)
    gradient = torch.as_tensor(gradient, dtype=torch.float64).clone()
    clip_units_([weight], [gradient], [view_units(weight.shape, mode)], clip_factor)
    return gradient


def oracle(weight: Tensor, gradient: Tensor, dims: tuple[int, ...] | None) -> Tensor:
    """The definition with units that span ``dims``; None for everything."""
    norms = [tensor.norm(2, dim=dims, keepdim=True) for tensor in (weight, gradient)]
    limit = 0.01 * norms[0].clamp(min=1e-3)
    return torch.where(norms[1] > limit, gradient * (limit / norms[1].clamp(min=1e-6)), gradient)


def random_pair(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight, gradient = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    # Some units above their limit, some below.
    return weight, gradient * torch.rand(shape[:1], generator=generator).mul(0.03).to(
        gradient
    ).reshape(-1, *[1] * (len(shape) - 1)) if shape else gradient * 0.02


class TestG1:
    def test_rows(self) -> None:
        found = clip([[3, 4], [0, 0], [0.6, 0.8]], [[0.3, 0.4], [0.03, 0.04], [0.003, 0.004]])
        expected = [[0.03, 0.04], [6e-6, 8e-6], [0.003, 0.004]]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-17)

    def test_a_bias_is_one_unit(self) -> None:
        np.testing.assert_allclose(clip([3, 4], [0.6, 0.8]), [0.03, 0.04], rtol=0, atol=1e-17)
        np.testing.assert_allclose(clip([0, 0], [0.6, 0.8]), [6e-6, 8e-6], rtol=0, atol=1e-20)

    def test_zero_gradient_stays_zero(self) -> None:
        assert torch.equal(clip([3, 4], [0, 0]), torch.zeros(2, dtype=torch.float64))

    def test_a_gradient_at_its_limit_is_left_alone(self) -> None:
        limit = torch.tensor([[0.03, 0.04]], dtype=torch.float64)
        assert torch.equal(clip([[3, 4]], limit), limit)

    def test_a_gradient_that_is_not_a_number_spoils_its_own_unit_alone(self) -> None:
        found = clip([[3, 4], [3, 4]], [[float('nan'), 1], [0.3, 0.4]])
        assert found[0].isnan().any() and not found[1].isnan().any()
        np.testing.assert_allclose(found[1], [0.03, 0.04], rtol=0, atol=1e-17)


class TestG2:
    @pytest.mark.parametrize('shape', SHAPES, ids=str)
    @pytest.mark.parametrize('mode', ['vector', 'element'])
    def test_units_are_outputs(self, shape: tuple[int, ...], mode: str) -> None:
        weight, gradient = random_pair(shape)
        expected = oracle(weight, gradient, tuple(range(1, len(shape))) or None)
        np.testing.assert_allclose(clip(weight, gradient, mode=mode), expected, rtol=0, atol=1e-17)
        if weight.numel() > 10:
            assert not torch.equal(expected, gradient)

    @pytest.mark.parametrize('shape', SHAPES, ids=str)
    def test_equals_the_library_where_that_is_exact(self, shape: tuple[int, ...]) -> None:
        if shape == (1, 7) or len(shape) == 3:
            pytest.skip("the library's units of a (1, C) or three-dimensional tensor are others")
        library = pytest.importorskip('pytorch_optimizer.optimizer.agc')
        weight, gradient = random_pair(shape, seed=3)
        expected = library.agc(weight, gradient.clone(), agc_eps=1e-3, agc_clip_val=0.01)
        np.testing.assert_allclose(clip(weight, gradient), expected, rtol=0, atol=1e-17)

    def test_a_gain_is_one_vector_or_by_choice_elements(self) -> None:
        weight, gradient = random_pair((6, 1, 1, 1))
        whole = oracle(weight.reshape(6), gradient.reshape(6), None).reshape(6, 1, 1, 1)
        np.testing.assert_allclose(clip(weight, gradient), whole, rtol=0, atol=1e-17)
        elements = clip(weight, gradient, mode='element')
        expected = oracle(weight, gradient, (1, 2, 3))
        np.testing.assert_allclose(elements, expected, rtol=0, atol=1e-17)
        assert not torch.allclose(elements, clip(weight, gradient), atol=1e-5)

    @pytest.mark.parametrize('groups', [1, 2])
    def test_transposed_convolution_equals_its_transposed_weight(self, groups: int) -> None:
        weight, gradient = random_pair((4, 3, 2, 2))
        found = gradient.clone()
        clip_units_([weight], [found], [view_transposed_units(weight.shape, groups)])

        def outputs_first(tensor: Tensor) -> Tensor:
            return torch.cat([part.transpose(0, 1) for part in tensor.chunk(groups)])

        expected = clip(outputs_first(weight), outputs_first(gradient))
        torch.testing.assert_close(outputs_first(found), expected, rtol=1e-14, atol=0)
        assert not torch.equal(found, clip(weight, gradient))

    def test_memory_format_does_not_matter(self) -> None:
        weight, gradient = random_pair((4, 3, 3, 3))
        last = [t.contiguous(memory_format=torch.channels_last) for t in (weight, gradient)]
        clip_units_([last[0]], [last[1]], [view_units(weight.shape)])
        np.testing.assert_allclose(last[1], clip(weight, gradient), rtol=0, atol=1e-17)


def test_g3_clipping_comes_before_decay_and_momentum() -> None:
    weight = torch.tensor([[3, 4], [0.6, 0.8]], dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([weight], lr=1, momentum=0.9, nesterov=True, weight_decay=2e-5)
    for _ in range(2):
        weight.grad = clip(weight.detach(), [[0.3, 0.4], [0.03, 0.04]])
        sgd.step()
    expected = [[2.862510736332, 3.816680981776], [0.5725021472664, 0.7633361963552001]]
    np.testing.assert_allclose(weight.detach(), expected, rtol=0, atol=1e-13)


class TestG4:
    def pairs(self) -> tuple[list[Tensor], list[Tensor], list[Any]]:
        pairs = [random_pair(shape, seed) for seed, shape in enumerate(SHAPES)]
        return (*map(list, zip(*pairs)), [view_units(shape) for shape in SHAPES])  # type: ignore

    def test_idempotent(self) -> None:
        weights, gradients, views = self.pairs()
        assert clip_units_(weights, gradients, views).any()
        once = [g.clone() for g in gradients]
        clip_units_(weights, gradients, views)
        for first, second in zip(once, gradients):
            ulp = np.spacing(first.norm().item())
            assert (first - second).abs().max() <= ulp

    def test_invariant_to_how_tensors_are_grouped(self) -> None:
        weights, gradients, views = self.pairs()
        alone = [g.clone() for g in gradients]
        together = clip_units_(weights, gradients, views)
        apart = [clip_units_([w], [g], [v]) for w, g, v in zip(weights, alone, views)]
        assert torch.equal(torch.cat(apart), together)
        assert all(map(torch.equal, gradients, alone))

    def test_half_precision_is_measured_in_float32(self) -> None:
        weight = torch.full((1, 70_000), 1.0, dtype=torch.float16)
        gradient = torch.full_like(weight, 1.0)  # its squares sum to more than float16 holds
        clip_units_([weight], [gradient], [view_units(weight.shape)])
        np.testing.assert_allclose(gradient.float(), 0.01, rtol=1e-3)
