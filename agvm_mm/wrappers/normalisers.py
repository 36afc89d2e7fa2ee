r"""Normalisers that ranks share: counts by which heads divide their loss, averaged over the ranks.

MMDetection's heads call ``mmdet.utils.reduce_mean`` for it, under a name that each module imports
for itself. The micro-batches of one rank share nothing there: each divides by its own count.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

HOOK = 'ExactAccumulationHook'
TOLERANCE = 0.01  # between two passes over one batch, whose assignments may round differently

Mean = Callable[[Tensor], Tensor]


class Site(NamedTuple):
    """A global name under which methods of a class find ``reduce_mean``."""

    namespace: dict[str, Any]
    name: str
    head: str


class SharedNormalisers:
    r"""Takes the place of ``reduce_mean`` in the heads of a network and shares its results.

    :meth:`recording` goes around a first forward pass over every micro-batch of an update. After
    :meth:`share`, call c of each second pass gets

    .. math:: \bar n_c = \frac{1}{k} \sum_{j=1}^{k} \frac{1}{R} \sum_{r=1}^{R} n_{c,j,r}

    over the k micro-batches and R ranks, as on k R ranks. At all other times calls go to
    MMDetection's function.

    Args:
        network: the bare network.

    Attributes:
        heads: names of the classes that share a normaliser.
    """

    def __init__(self, network: nn.Module) -> None:
        self._sites = shared_sites(network)
        self.heads = sorted({site.head for site in self._sites})
        self._original: Mean = _reduce_mean() or (lambda tensor: tensor)
        self._active = self._original
        self._said = False
        self.forget()

    def install(self) -> None:
        """Replace ``reduce_mean`` in the modules of the heads."""

        @torch.compiler.disable
        def reduce_mean(tensor: Tensor) -> Tensor:
            return self._active(tensor)

        reduce_mean.replaces = self._original
        for namespace, name, _ in self._sites:
            namespace[name] = reduce_mean

    def remove(self) -> None:
        """Put MMDetection's function back."""
        for namespace, name, _ in self._sites:
            namespace[name] = self._original

    def forget(self) -> None:
        """Drop what was recorded."""
        self._active = self._original
        self._own: list[list[Tensor]] = []  # of every pass and call
        self._means: list[list[Tensor]] = []  # over the ranks
        self._again: list[Tensor] = []  # of every call of the second passes
        self._shared: list[Tensor] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Around the first pass over the next micro-batch of the update."""
        self._own.append([])
        self._means.append([])
        self._active = self._record
        try:
            yield
        finally:
            self._active = self._original

    def share(self) -> None:
        """Average what was recorded; calls of passes that do not match keep their own counts."""
        shapes = [[own.shape for own in calls] for calls in self._own]
        if any(other != shapes[0] for other in shapes):
            self._say(
                'the micro-batches of an update call reduce_mean with other shapes or differently '
                'often, where ranks would wait for each other, so each keeps its own counts'
            )
            self.forget()
            return
        self._shared = [torch.stack(means).double().mean(0) for means in zip(*self._means)]

    def replay(self) -> None:
        """Begin the second pass over the next micro-batch."""
        if self._shared:
            waiting = iter(self._shared)
            self._active = lambda tensor: self._replay(tensor, next(waiting, None))

    @property
    def counts(self) -> list[Tensor]:
        """What the calls of all first passes were given, in their order."""
        return [own for calls in self._own for own in calls]

    def check(self) -> None:
        """After the update: warn once if its second passes counted something else."""
        first = self.counts
        if not self._shared or self._said:
            return
        if len(first) != len(self._again) or not all(map(_close, first, self._again)):
            self._say(
                'a second forward pass over a micro-batch counted something else than the first, '
                'so the micro-batches do not share exactly what ranks would; does a hook change '
                'the batch, or the model a state that is neither a buffer nor an attribute?'
            )

    def _record(self, tensor: Tensor) -> Tensor:
        self._own[-1].append(tensor.detach().clone())
        mean = self._original(tensor)
        self._means[-1].append(mean.detach().clone())  # callers clamp the mean in place
        return mean

    def _replay(self, tensor: Tensor, shared: Tensor | None) -> Tensor:
        self._again.append(tensor.detach().clone())
        return self._original(tensor) if shared is None else shared.to(tensor, copy=True)

    def _say(self, text: str) -> None:
        if not self._said:
            self._said = True
            _warn(f'{HOOK}: {text}. This warning is given once.')


def warn_unless_shared(network: nn.Module) -> None:
    """Warn if micro-batches divide their losses by counts that ranks would share."""
    heads = sorted(
        {
            site.head
            for site in shared_sites(network)
            if not hasattr(site.namespace[site.name], 'replaces')
        }
    )
    if heads:
        _warn(
            f'the loss of {", ".join(heads)} is divided by counts that are averaged over ranks and '
            'not over micro-batches, so with optim_wrapper.accumulative_counts above 1 an update '
            f"is not that of as many ranks; custom_hooks=[dict(type='{HOOK}')] makes it so."
        )


def shared_sites(network: nn.Module) -> list[Site]:
    """Where the methods of the network's classes find MMDetection's ``reduce_mean``."""
    target = _reduce_mean()
    if target is None:
        return []
    found: dict[tuple[int, str, str], Site] = {}
    for kind in dict.fromkeys(type(module) for module in network.modules()):
        for namespace, name in _globals_of_methods(kind):
            value = namespace.get(name)
            if getattr(value, 'replaces', value) is target:
                site = Site(namespace, name, kind.__name__)
                found.setdefault((id(namespace), name, site.head), site)
    return list(found.values())


def _reduce_mean() -> Mean | None:
    """MMDetection's function; None while MMDetection is not imported, so no head can call it."""
    function: Mean | None = getattr(sys.modules.get('mmdet.utils.dist_utils'), 'reduce_mean', None)
    return function


def _globals_of_methods(kind: type) -> Iterator[tuple[dict[str, Any], str]]:
    """Namespaces and names of the globals to which the methods of a class refer."""
    for attribute in dir(kind):
        method = getattr(kind, attribute, None)
        function = inspect.unwrap(getattr(method, '__func__', method)) if callable(method) else None
        if inspect.isfunction(function):
            for name in _names(function.__code__):
                yield function.__globals__, name


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=TOLERANCE)


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)
