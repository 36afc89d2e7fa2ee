"""Boxes, masks and maps stay where their content is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawing import Rectangle, centroid, dot, draw, ellipses, overlap

from agvm_mm.curriculum.geometry import Grid, move_points, resample_labels, resample_masks
from agvm_mm.curriculum.lanczos import lanczos_resize
from agvm_mm.curriculum.lowpass import fourier_crop, small_size

RATIOS = [3 / 7, 0.5, 5 / 7, 0.75]
every_ratio = pytest.mark.parametrize('ratio', RATIOS)
every_align = pytest.mark.parametrize('align', ['center', 'corner'])


def make_grid(size: tuple[int, int], ratio: float, align: str = 'center') -> Grid:
    return Grid(size, (small_size(size[0], ratio), small_size(size[1], ratio)), align)


class TestPoints:
    @pytest.mark.parametrize(
        ('align', 'band', 'expected'),
        [
            ('corner', 96, (43.1429, 26.0)),
            ('center', 96, (42.8571, 25.7143)),
            ('corner', 160, (71.5714, 43.0)),
        ],
    )
    def test_frozen_centres(self, align: str, band: int, expected: tuple[float, float]) -> None:
        """Gaussian at (100, 60), sigma 12, in 224 pixels."""
        grid = Grid((224, 224), (band, band), align)
        image = dot(100, 60, 12, (224, 224))
        assert centroid(fourier_crop(image, band, band, align)) == pytest.approx(expected, abs=1e-4)
        moved = move_points(torch.tensor([100.0, 60.0]), grid)
        assert moved.tolist() == pytest.approx(expected, abs=1e-4)

    @every_ratio
    @every_align
    def test_boxes_follow_a_dot_to_a_hundredth_of_a_pixel(self, ratio: float, align: str) -> None:
        rng = np.random.default_rng(0)
        size = (190, 251)
        grid = make_grid(size, ratio, align)
        for x, y in rng.uniform(60, 130, (10, 2)):
            image = dot(x, y, 6, size)
            left, top, right, bottom = move_points(
                torch.tensor([x - 9, y - 9, x + 9, y + 9]), grid
            ).tolist()
            found = centroid(fourier_crop(image, *grid.after, align=align))
            assert found == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.01)
            if align == 'center':
                lanczos = lanczos_resize(image, *grid.after)
                assert centroid(lanczos) == pytest.approx(found, abs=0.01)

    def test_naive_scaling_of_corner_aligned_images_is_off_by_what_is_known(self) -> None:
        for band, error in ((96, 0.286), (160, 0.143)):
            x = centroid(fourier_crop(dot(100, 60, 12, (224, 224)), band, band, 'corner'))[0]
            assert x - 100 * band / 224 == pytest.approx(error, abs=1e-3)

    @every_align
    def test_there_and_back(self, align: str) -> None:
        grid = make_grid((190, 251), 3 / 7, align)
        boxes = torch.rand(5, 4, dtype=torch.float64) * 100
        moved = move_points(boxes, grid)
        shift, scale = torch.tensor(grid.shift * 2), torch.tensor(grid.scale * 2)
        torch.testing.assert_close((moved - shift) / scale, boxes, rtol=1e-6, atol=1e-5)


class TestMasks:
    SIZE = (224, 224)

    @every_ratio
    def test_overlap_with_shapes_drawn_anew(self, ratio: float) -> None:
        """Objects above 16 small pixels; a pixel more or less is 1 % of the smallest."""
        grid = make_grid(self.SIZE, ratio)
        shapes = ellipses(0, 224, 16 / ratio)
        masks = np.stack([draw(shape, self.SIZE) for shape in shapes]).astype(np.uint8)
        small = resample_masks(masks, grid)
        found = [overlap(m > 0, draw(s, self.SIZE, grid)) for m, s in zip(small, shapes)]
        assert np.mean(found) >= 0.98
        assert min(found) >= 0.93

    @every_ratio
    def test_rectangles_at_whole_pixels_are_exact_but_for_their_corners(self, ratio: float) -> None:
        """A small pixel with its centre on an edge may go either way."""
        grid = make_grid(self.SIZE, ratio)
        rng = np.random.default_rng(1)
        for x, y in rng.integers(0, 150, (20, 2)).tolist():
            shape = Rectangle((x, y, x + 41, y + 57))
            small = resample_masks(draw(shape, self.SIZE)[None].astype(np.uint8), grid)[0] > 0
            inner = draw(Rectangle((x + 0.01, y + 0.01, x + 40.99, y + 56.99)), self.SIZE, grid)
            outer = draw(Rectangle((x - 0.01, y - 0.01, x + 41.01, y + 57.01)), self.SIZE, grid)
            assert (small & ~outer).sum() + (inner & ~small).sum() <= 4

    @every_ratio
    def test_corner_aligned_masks(self, ratio: float) -> None:
        grid = make_grid(self.SIZE, ratio, 'corner')
        shapes = ellipses(2, 224, 16 / ratio)
        masks = np.stack([draw(shape, self.SIZE) for shape in shapes]).astype(np.uint8)
        small = resample_masks(masks, grid)
        found = [overlap(m > 0, draw(s, self.SIZE, grid)) for m, s in zip(small, shapes)]
        assert np.mean(found) >= 0.97

    @every_align
    def test_agree_with_the_cropped_picture_of_the_object(self, align: str) -> None:
        grid = make_grid(self.SIZE, 3 / 7, align)
        for shape in ellipses(3, 224, 40, count=20):
            mask = draw(shape, self.SIZE)
            picture = fourier_crop(torch.from_numpy(mask).double(), *grid.after, align=align)
            small = resample_masks(mask[None].astype(np.uint8), grid)[0] > 0
            assert overlap(small, picture.numpy() > 0.5) > 0.95

    def test_no_masks(self) -> None:
        assert resample_masks(np.zeros((0, 40, 60), np.uint8), make_grid((40, 60), 0.5)).shape == (
            0,
            20,
            30,
        )


class TestMaps:
    @every_ratio
    def test_overlap_with_shapes_drawn_anew(self, ratio: float) -> None:
        size = (224, 224)
        grid = make_grid(size, ratio)
        found = []
        for shape in ellipses(4, 224, 16 / ratio):
            labels = torch.from_numpy(np.where(draw(shape, size), 7, 3)).long()
            small = resample_labels(labels[None], grid)
            assert small.shape == (1, *grid.after) and small.dtype == torch.long
            found.append(overlap((small[0] == 7).numpy(), draw(shape, size, grid)))
        assert np.mean(found) >= 0.98 and min(found) >= 0.93

    @every_ratio
    @every_align
    def test_labels_are_never_mixed(self, ratio: float, align: str) -> None:
        grid = make_grid((64, 96), ratio, align)
        labels = torch.randint(0, 3, (1, 64, 96), generator=torch.Generator().manual_seed(0)) * 9
        labels[:, :, 40:56] = 255
        small = resample_labels(labels.to(torch.uint8), grid)
        assert small.dtype == torch.uint8
        assert set(small.unique().tolist()) <= {0, 9, 18, 255}

    @every_ratio
    @every_align
    def test_the_ignored_region_stays_itself(self, ratio: float, align: str) -> None:
        """All of it and nothing but: a band of ignored columns and rows, whole small pixels."""
        size = (224, 224)
        grid = make_grid(size, ratio, align)
        shape = Rectangle((56, 0, 168, 224))
        labels = torch.from_numpy(np.where(draw(shape, size), 255, 1)).long()[None]
        small = resample_labels(labels, grid)[0].numpy()
        anew = draw(shape, size, grid)
        assert ((small == 255) != anew).any(0).sum() <= 1  # at most the column that is halved

    def test_a_tie_takes_one_of_the_labels(self) -> None:
        labels = torch.tensor([[0, 255] * 8] * 16)[None]
        assert set(resample_labels(labels, make_grid((16, 16), 0.5)).unique().tolist()) <= {0, 255}
