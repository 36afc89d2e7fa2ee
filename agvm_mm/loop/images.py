"""How many images a model has received."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class ImageCounter:
    """Counts the images that a model's data preprocessor receives, as a forward pre-hook on it.

    A model without one shows them in the arguments of its call, of which the outermost counts. The
    counter ignores a model in evaluation mode and passes without gradients. Copies and pickles of
    the model have an empty counter, never this run's state.
    """

    def __init__(self) -> None:
        self._images = 0
        self._handles: list[RemovableHandle] = []

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count the images of one batch as the preprocessor receives it."""
        if module.training and torch.is_grad_enabled():
            data = args[0] if args else kwargs.get('data')
            self.add(_images(data.get('inputs') if isinstance(data, dict) else data))

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return ImageCounter, ()

    def add(self, images: int) -> None:
        """Count images."""
        self._images += images

    def take(self) -> int:
        """Images since the last call."""
        images, self._images = self._images, 0
        return images

    def attach(self, network: nn.Module) -> None:
        """Watch the data preprocessor of the bare ``network``, or the network if it has none."""
        preprocessor = getattr(network, 'data_preprocessor', None)
        if isinstance(preprocessor, nn.Module):
            hook = preprocessor.register_forward_pre_hook(self, with_kwargs=True)
            self._handles = [hook]
            return
        call = _Call(self)
        self._handles = [
            network.register_forward_pre_hook(call.begin, with_kwargs=True),
            network.register_forward_hook(call.end, always_call=True),
        ]

    def detach(self) -> None:
        """Watch no longer."""
        for handle in self._handles:
            handle.remove()


class _Call:
    """Forward hooks of a network that shows its images in its arguments."""

    def __init__(self, counter: ImageCounter) -> None:
        self._counter = counter
        self._depth = 0  # Lightning calls the module that calls itself

    def __reduce__(self) -> tuple[type, tuple[ImageCounter]]:
        return _Call, (ImageCounter(),)

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count the images of the outermost call."""
        self._depth += 1
        if self._depth == 1 and module.training and torch.is_grad_enabled():
            self._counter.add(_first(map(_shown, (*args, *kwargs.values()))))

    def end(self, *_: Any) -> None:
        """The call has returned or failed."""
        self._depth -= 1


def _images(inputs: Any) -> int:
    """Images in a batch; 0 where it does not show them.

    A semi-supervised batch is a dict of branches, which are views of the same images. Each branch
    has an entry for every image, None where it does not use the image. An image counts once.
    """
    if isinstance(inputs, Mapping):
        return max(map(_images, inputs.values()), default=0)
    return len(inputs) if isinstance(inputs, (Sequence, Tensor)) else 0


def _shown(argument: Any) -> int:
    """Images in one argument of a network; 0 where it does not show them.

    That is the first dimension of a tensor, or the length of a list of (C, H, W) tensors or of
    dicts. Of several values in an argument the first that shows images counts.
    """
    if isinstance(argument, Tensor):
        return len(argument) if argument.ndim > 1 else 0
    if isinstance(argument, Mapping):
        return _first(map(_shown, argument.values()))
    if not isinstance(argument, (list, tuple)):
        return 0
    if all(isinstance(x, Mapping) or (isinstance(x, Tensor) and x.ndim == 3) for x in argument):
        return len(argument)
    return _first(map(_shown, argument))


def _first(counts: Iterable[int]) -> int:
    return next((count for count in counts if count), 0)
