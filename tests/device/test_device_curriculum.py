"""Low-frequency cropping on the device, and what it waits for beside the plain preprocessor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from networks import detection_batch
from waits import host_waits

from agvm_mm.curriculum.detection import LowFreqDetDataPreprocessor
from agvm_mm.curriculum.lowpass import fourier_crop


def preprocessor(device: str, ratio: float, mode: str = 'fft') -> Any:
    found = LowFreqDetDataPreprocessor(mean=[120.0] * 3, std=[57.0] * 3, mode=mode)
    found.ratio = ratio
    return found.to(device).train()


@pytest.mark.parametrize('mode', ['fft', 'lanczos'])
def test_a_small_batch_is_that_of_the_cpu(device: str, mode: str) -> None:
    there, here = (
        preprocessor(place, 0.5, mode)(detection_batch([0]), True) for place in (device, 'cpu')
    )
    assert there['inputs'].device.type == device
    torch.testing.assert_close(there['inputs'].cpu(), here['inputs'], rtol=1e-4, atol=1e-4)
    for found, expected in zip(there['data_samples'], here['data_samples']):
        boxes = found.gt_instances.bboxes
        assert boxes.device.type == device
        torch.testing.assert_close(boxes.cpu(), expected.gt_instances.bboxes)


def test_ground_truth_is_not_waited_for(device: str) -> None:
    """Every tensor of a batch is copied to the device once, as without a curriculum."""
    found = []
    for ratio in (1.0, 0.5):
        model = preprocessor(device, ratio)
        with host_waits(device) as waits:
            model(detection_batch([1]), True)
        found.append(waits)
    plain, small = found
    assert len(small) <= len(plain), small


def test_many_sizes_of_images_need_no_more_memory(device: str) -> None:
    """The plans of the Fourier transform are kept by size, up to a limit."""
    if device != 'cuda':
        pytest.skip('the plans are those of cuFFT')
    for number in range(3000):
        fourier_crop(torch.zeros(1, 64 + number % 40, 64 + number, device=device), 32, 32)
        if number == 200:
            before = torch.cuda.memory_allocated()
    assert torch.cuda.memory_allocated() <= before
    assert torch.backends.cuda.cufft_plan_cache[0].size <= 4096
