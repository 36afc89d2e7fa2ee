"""How many images a model has received."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class ImageCounter:
    """Counts the images that pass a model's data preprocessor, as a forward hook on it.

    A model that is evaluated is not counted. Copies and pickles of the model carry an empty
    counter, never this run's state.
    """

    def __init__(self) -> None:
        self._images = 0

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Count the images of one batch as the preprocessor received it."""
        if not module.training:  # a validation between two updates
            return
        data = args[0] if args else None
        inputs = data.get('inputs') if isinstance(data, dict) else data
        if isinstance(inputs, (Sequence, Tensor)):
            self._images += len(inputs)

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
            preprocessor.register_forward_hook(self)
