"""How many images a model has received."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class ImageCounter:
    """Counts the images that a model's data preprocessor receives, as a forward pre-hook on it.

    It ignores a model in evaluation mode and passes without gradients. Copies and pickles of the
    model have an empty counter, never this run's state.
    """

    def __init__(self) -> None:
        self._images = 0

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count the images of one batch as the preprocessor receives it."""
        if module.training and torch.is_grad_enabled():
            data = args[0] if args else kwargs.get('data')
            self._images += _images(data.get('inputs') if isinstance(data, dict) else data)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return ImageCounter, ()

    def take(self) -> int:
        """Images since the last call."""
        images, self._images = self._images, 0
        return images

    def attach(self, network: nn.Module) -> None:
        """Watch the data preprocessor of the bare ``network``, if it has one."""
        preprocessor = getattr(network, 'data_preprocessor', None)
        if isinstance(preprocessor, nn.Module):
            preprocessor.register_forward_pre_hook(self, with_kwargs=True)


def _images(inputs: Any) -> int:
    """Images in a batch; 0 where it does not show them.

    A semi-supervised batch is a dict of branches, which are views of the same images. Each branch
    has an entry for every image, None where it does not use the image. An image counts once.
    """
    if isinstance(inputs, Mapping):
        return max(map(_images, inputs.values()), default=0)
    return len(inputs) if isinstance(inputs, (Sequence, Tensor)) else 0
