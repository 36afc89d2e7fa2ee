"""The layers whose outputs a loss reads with no other layer between, from the autograd graph."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from agvm_mm.optimizers.prediction_layers import FEATURES, LAYERS, prediction_layers


def unnamed_predictions(network: Any, batch: Any) -> list[str]:
    """Last layers of the heads in a forward pass that :func:`prediction_layers` does not name.

    Numbers in names, as those of levels, are written as ``#``.
    """
    named = set(prediction_layers(network, regression=True))
    found = [
        name
        for name in last_layers(network, batch)
        if name not in named and not set(name.split('.')) & set(FEATURES)
    ]
    return list(dict.fromkeys(re.sub(r'\d+', '#', name) for name in found))


def last_layers(network: Any, batch: Any) -> list[str]:
    """Names of the layers that are nearest to the loss of a batch on a path of the graph."""
    nodes: dict[Any, str] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            node = output.grad_fn if isinstance(output, Tensor) else None
            while node is not None:
                nodes[node] = name
                # An in-place change of the output replaces the node of a view.
                node = node.next_functions[0][0] if 'View' in node.name() else None

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in network.named_modules()
        if isinstance(module, LAYERS)
    ]
    try:
        data = network.data_preprocessor(batch, True)
        loss, _ = network.parse_losses(network._run_forward(data, mode='loss'))
    finally:
        for handle in hooks:
            handle.remove()
    found: dict[str, None] = {}
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in nodes:
            found[nodes[node]] = None
        else:
            waiting.extend(child for child, _ in node.next_functions)
    return list(found)
