"""Hooks that note every call of a layer: its input, its output, which may get a gradient.

Most layers are called as modules. The projections of torch's MultiheadAttention are not:
``F.multi_head_attention_forward`` takes their weights, even that of the module ``out_proj``, so a
forward hook on it never runs. But it multiplies with ``F.linear``, whether the projections of
queries, keys and values are one product, two (keys and values are the same) or three. So while the
attention runs, ``F.linear`` also notes the products with these weights. Torch's fast path has no
such products, and is taken only without gradients, where nothing counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .attention import ProductHelper
from .modules import ModuleHelper

Note = Callable[[Tensor, Tensor, slice], None]
"""Called with input, output, and which of the output's last dimension are the layer's."""
EVERY = slice(None)


def watch(helper: ModuleHelper, due: Callable[[], bool], note: Note) -> Sequence[RemovableHandle]:
    """Register the hooks of one layer.

    They run before the hooks of others, which may put something else in the output's place.

    Args:
        helper: of the layer.
        due: whether calls are to be noted.
        note: called with each of them.
    """
    if isinstance(helper, ProductHelper):
        products = _Products(helper, due, note)
        leave, user = _Leave(products), helper.user
        return (
            user.register_forward_pre_hook(_Enter(products)),
            user.register_forward_hook(leave, prepend=True, always_call=True),
        )
    call = _Call(due, note)
    return (helper.module.register_forward_hook(call, prepend=True, with_kwargs=True),)


class _Idle:
    """What a copy or a pickle of the network gets in the place of a hook."""

    def __call__(self, *_: Any) -> None:
        """Do nothing."""


class _Hook:
    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Idle, ()


class _Call(_Hook):
    """After the forward pass of a module that is the layer."""

    def __init__(self, due: Callable[[], bool], note: Note) -> None:
        self._due = due
        self._note = note

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if self._due() and isinstance(output, Tensor) and output.requires_grad:
            values = (*args, *kwargs.values())
            inputs = next(value for value in values if isinstance(value, Tensor))
            self._note(inputs, output, EVERY)


class _Products:
    """An ``F.linear`` that notes the products with the layer's weight, around the one it finds."""

    def __init__(self, helper: ProductHelper, due: Callable[[], bool], note: Note) -> None:
        self._helper = helper
        self._due = due
        self._note = note
        self._found: Callable[..., Tensor] | None = None

    def enter(self) -> None:
        if self._due() and torch.is_grad_enabled():
            self._found = F.linear
            vars(F)['linear'] = self

    def leave(self) -> None:
        if self._found is not None:
            vars(F)['linear'] = self._found
            self._found = None

    def __call__(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        assert self._found is not None
        output = self._found(input, weight, bias)
        own = self._helper.outputs_of(weight)
        if own is not None and output.requires_grad:
            self._note(input, output, own)
        return output


class _Enter(_Hook):
    def __init__(self, products: _Products) -> None:
        self._products = products

    def __call__(self, *_: Any) -> None:
        self._products.enter()


class _Leave(_Enter):
    def __call__(self, *_: Any) -> None:
        self._products.leave()
