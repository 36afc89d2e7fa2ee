"""The Fourier crop: the reference's numbers and properties, and where its pixels lie."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from agvm_mm.curriculum.lowpass import fourier_crop, small_size


def square_reference(images: Tensor, band: int) -> Tensor:
    """The published operator on squares, from its formula: four corners of the spectrum."""
    half = band // 2
    size = images.shape[-1]
    spectrum = torch.fft.fft2(images)
    rows = torch.cat([spectrum[..., :half, :], spectrum[..., -half:, :]], -2)
    corners = torch.cat([rows[..., :half], rows[..., -half:]], -1)
    return torch.fft.ifft2(corners * (2 * half / size) ** 2).real


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)).double()


def wave(frequency: float, size: int, phase: float = 0.0, start: float = 0.0) -> Tensor:
    """A cosine with ``frequency`` periods over ``size`` pixels, from position ``start``."""
    position = torch.arange(size, dtype=torch.float64) + start
    return torch.cos(2 * math.pi * frequency * position / size + phase)


@pytest.mark.parametrize('align', ['center', 'corner'])
class TestBothAlignments:
    def test_the_mean_is_kept(self, noise: Tensor, align: str) -> None:
        small = fourier_crop(noise, 96, 160, align)
        assert small.shape == (2, 3, 96, 160)
        torch.testing.assert_close(small.mean((-2, -1)), noise.mean((-2, -1)), rtol=0, atol=1e-15)

    def test_a_constant_stays_one(self, align: str) -> None:
        small = fourier_crop(torch.full((3, 50, 70), 3.5).double(), 30, 26, align)
        torch.testing.assert_close(small, torch.full_like(small, 3.5), rtol=0, atol=1e-14)

    def test_full_size_is_identity(self, noise: Tensor, align: str) -> None:
        assert torch.equal(fourier_crop(noise, 224, 224, align), noise)
        odd = noise[..., :31, :33]
        assert torch.equal(fourier_crop(odd, 31, 33, align), odd)

    def test_frequencies_above_the_new_band_are_gone(self, align: str) -> None:
        image = wave(9, 32, 0.3)[:, None] * torch.ones(32).double()
        assert fourier_crop(image, 16, 16, align).abs().max() < 1e-14

    def test_commutes_with_normalisation(self, noise: Tensor, align: str) -> None:
        mean, std = torch.tensor([[[120.0]], [[7.0]], [[-3.0]]]), 57.0
        small = (fourier_crop(noise, 96, 96, align) - mean) / std
        of_normalised = fourier_crop((noise - mean) / std, 96, 96, align)
        torch.testing.assert_close(of_normalised, small, rtol=0, atol=1e-13)

    @pytest.mark.parametrize('kind', [torch.uint8, torch.float16, torch.bfloat16])
    def test_is_float32_whatever_the_input_and_autocast(self, kind: torch.dtype, align: str):
        image = (torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(1)) * 255).to(kind)
        expected = fourier_crop(image.float(), 20, 30, align)
        with torch.autocast('cpu', torch.bfloat16):
            small = fourier_crop(image, 20, 30, align)
        assert small.dtype == torch.float32
        assert torch.equal(small, expected)


class TestReference:
    @pytest.mark.parametrize('band', [96, 97, 160, 192])
    def test_equals_the_published_operator_on_squares(self, noise: Tensor, band: int) -> None:
        side = 2 * (band // 2)
        torch.testing.assert_close(
            fourier_crop(noise, side, side, 'corner'),
            square_reference(noise, band),
            rtol=0,
            atol=5e-15,
        )

    def test_a_band_limited_signal_is_decimated(self) -> None:
        image = wave(3, 32, 0.3)[:, None] * wave(5, 32, 1.1)
        small = fourier_crop(image, 16, 16, 'corner')
        torch.testing.assert_close(small, image[::2, ::2], rtol=0, atol=2e-15)

    def test_the_nyquist_term_is_kept_on_one_side(self) -> None:
        small = fourier_crop(wave(8, 32)[:, None] * torch.ones(32).double(), 16, 32, 'corner')
        alternating = 0.5 * (-1.0) ** torch.arange(16).double()
        torch.testing.assert_close(small, alternating[:, None].expand(16, 32), rtol=0, atol=1e-14)


class TestCentred:
    def test_a_band_limited_signal_is_sampled_at_the_centres_of_small_pixels(self) -> None:
        image = wave(3, 32, 0.3)[:, None] * wave(5, 48, 1.1)
        small = fourier_crop(image, 20, 36, 'center')
        y = (torch.arange(20) + 0.5).double() / 20 - 0.5 / 32
        x = (torch.arange(36) + 0.5).double() / 36 - 0.5 / 48
        rows, columns = torch.cos(6 * math.pi * y + 0.3), torch.cos(10 * math.pi * x + 1.1)
        torch.testing.assert_close(small, rows[:, None] * columns, rtol=0, atol=1e-14)

    def test_commutes_with_flips_but_for_the_nyquist_term(self, noise: Tensor) -> None:
        image = noise[0]

        def difference(align: str) -> float:
            flipped = fourier_crop(image.flip(-1), 96, 96, align)
            return float((flipped - fourier_crop(image, 96, 96, align).flip(-1)).std())

        assert difference('center') < 0.05
        assert difference('corner') > 0.2


@pytest.mark.parametrize(
    ('size', 'ratio', 'expected'),
    [
        (800, 3 / 7, 342),
        (1344, 3 / 7, 576),
        (800, 5 / 7, 572),
        (1344, 5 / 7, 960),
        (224, 3 / 7, 96),
        (333, 1.0, 333),
        (3, 0.1, 2),
        (2, 0.1, 2),
        (1, 0.5, 1),
        (31, 0.99, 30),
        (96, 0.5, 48),
    ],
)
def test_sizes_are_even_and_near_the_ratio(size: int, ratio: float, expected: int) -> None:
    assert small_size(size, ratio) == expected


@pytest.mark.parametrize('align', ['center', 'corner'])
@pytest.mark.parametrize('ratio', [0.1, 3 / 7, 0.5, 0.99])
def test_a_constant_image_stays_constant_however_small(align: str, ratio: float) -> None:
    for height in range(1, 8):
        for width in range(1, 8):
            image = torch.full((3, height, width), 100, dtype=torch.uint8)
            size = small_size(height, ratio), small_size(width, ratio)
            small = fourier_crop(image, *size, align)
            torch.testing.assert_close(small, torch.full((3, *size), 100.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize(('before', 'after'), [(1, 2), (3, 4), (3, 8), (8, 5), (8, 0)])
def test_a_size_that_no_crop_has_is_refused(before: int, after: int) -> None:
    sentence = f'{before} pixels cannot be cropped to {after}; allowed is {before} or an even'
    with pytest.raises(ValueError, match=sentence):
        fourier_crop(torch.ones(4, before), 4, after)


def test_padding_after_the_crop_does_not_ring() -> None:
    """What padding first would do: an edge that overshoots, and one that wraps round."""
    step = torch.ones(64, 64)
    padded = torch.nn.functional.pad(step, (0, 64, 0, 0))
    rung = fourier_crop(padded, 32, 56, 'corner')
    assert rung.max() > 1.05 and rung.min() < -0.05
    assert torch.allclose(fourier_crop(step, 32, 28, 'corner'), torch.ones(32, 28), atol=1e-5)
