"""The parts in a training loop: binding, order, clock, state; and ``attach`` for any loop."""

from .attach import attach
from .handle import Handle
from .held import HeldParts

__all__ = ['Handle', 'HeldParts', 'attach']
