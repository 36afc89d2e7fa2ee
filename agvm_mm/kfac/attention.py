"""The four projections of torch's MultiheadAttention, each a Linear of its own.

Queries, keys and values have their own factors even where one weight holds all three, because their
inputs and numbers of positions may differ: 100 queries look at 1,000 keys.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .modules import LinearHelper

INPUTS = ('q', 'k', 'v')


class ProductHelper(LinearHelper):
    """A Linear that is used by ``F.linear`` within the forward pass of another module.

    Attributes:
        user: that module.
    """

    user: nn.Module

    @property
    def kind(self) -> str:
        """What the layer is called in a list."""
        return f'projections of {type(self.user).__name__}'

    def outputs_of(self, weight: Tensor) -> slice | None:
        """The outputs of a product with ``weight`` that are this layer's; None if it has none."""
        own = self.parameters[0]
        if weight is not own and weight._base is not own:
            return None
        first = (weight.storage_offset() - own.storage_offset()) // own.stride(0)
        start = (self.rows[0].start or 0) - first
        inside = start >= 0 and start + self.outputs <= len(weight)
        return slice(start, start + self.outputs) if inside else None


class InputProjection(ProductHelper):
    """The projection of queries, keys or values: a third of a weight, or one of its own.

    Args:
        name: of the attention in the network.
        attention: the module.
        kind: one of :data:`INPUTS`.
        max_size: rows above which a factor keeps its diagonal alone.
    """

    def __init__(self, name: str, attention: Any, kind: str, max_size: int) -> None:
        packed = attention.in_proj_weight is not None
        weight = 'in_proj_weight' if packed else f'{kind}_proj_weight'
        super().__init__(name, attention, max_size, (weight, 'in_proj_bias'))
        self.name = f'{name}.{kind}' if name else kind
        self.user = attention
        outputs = attention.embed_dim
        first = INPUTS.index(kind) * outputs
        third = slice(first, first + outputs)
        self.rows = [third if packed else slice(None), third][: len(self.parameters)]
        self._set_shapes(self.parameters[0].shape[1], outputs)


class OutputProjection(ProductHelper):
    """The projection behind the heads, a module that is never called.

    Args:
        name: of the attention in the network.
        attention: the module.
        max_size: rows above which a factor keeps its diagonal alone.
    """

    def __init__(self, name: str, attention: Any, max_size: int) -> None:
        inner = f'{name}.out_proj' if name else 'out_proj'
        super().__init__(inner, attention.out_proj, max_size)
        self.user = attention


def projections(name: str, attention: Any, max_size: int) -> list[ProductHelper]:
    """All four of an attention."""
    inputs = [InputProjection(name, attention, kind, max_size) for kind in INPUTS]
    return [*inputs, OutputProjection(name, attention, max_size)]
