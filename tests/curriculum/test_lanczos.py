"""Lanczos resizing agrees with Pillow, which the published release uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agvm_mm.curriculum.lanczos import lanczos_resize


@pytest.mark.parametrize(('height', 'width'), [(48, 72), (30, 112), (80, 40)])
def test_equals_pillow(height: int, width: int) -> None:
    pillow = pytest.importorskip('PIL.Image', reason='Pillow is the reference')
    image = torch.rand(80, 112, generator=torch.Generator().manual_seed(0)) * 255
    reference = pillow.fromarray(image.numpy()).resize((width, height), pillow.Resampling.LANCZOS)
    small = lanczos_resize(image, height, width)
    np.testing.assert_allclose(small.numpy(), np.asarray(reference), atol=2e-3)


def test_a_constant_stays_one_and_full_size_is_identity() -> None:
    image = torch.full((3, 40, 50), 7.0)
    torch.testing.assert_close(lanczos_resize(image, 20, 30), torch.full((3, 20, 30), 7.0))
    noise = torch.rand(3, 40, 50)
    assert torch.equal(lanczos_resize(noise, 40, 50), noise)


@pytest.mark.parametrize('kind', [torch.uint8, torch.bfloat16])
def test_is_float32_under_autocast(kind: torch.dtype) -> None:
    image = (torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(1)) * 255).to(kind)
    expected = lanczos_resize(image.float(), 20, 30)
    with torch.autocast('cpu', torch.bfloat16):
        small = lanczos_resize(image, 20, 30)
    assert small.dtype == torch.float32 and torch.equal(small, expected)
