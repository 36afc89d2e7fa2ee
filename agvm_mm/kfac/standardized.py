r"""Convolutions whose weight is standardised in the forward pass.

.. math:: \hat W_o = s_o (W_o - \mu_o), \qquad
          \frac{\partial L}{\partial W_o} = \sum_p s_o g_{op} \Big(x_p - \bar x_p
          - \frac{\langle \hat W_o, x_p \rangle}{|\hat W_o|^2} \hat W_o\Big)

at the positions p of the output o, x a patch of inputs with the mean :math:`\bar x`, g the gradient
of the output. What the ranks average and the optimizer steps with is the gradient of the *raw*
weight W; what of the standardised weight's gradient the standardisation removes, cannot be got back
from it. So the raw weight has the factors: those of the centred patches and of
:math:`s_o g_{op}`. The last term differs from output to output and is left out; along W the loss
does not change. So a gradient of rows without a mean keeps them so, as standardisation makes them.

The bias is not standardised. Its gradient, :math:`\sum g_{op}`, is that of b / s multiplied by 1/s:
so b / s is preconditioned, whose rows of inputs are 1 and whose outputs' gradients are
:math:`s_o g_{op}` too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from .convolution import ConvHelper

# s of every output, by class.
SCALES: dict[str, Callable[[Any], Tensor]] = {
    'ScaledWSConv2d': lambda module: module.scale().flatten(),
    'ConvWS2d': lambda module: (module.weight.flatten(1).std(1) + module.eps).reciprocal(),
    'ConvAWS2d': lambda module: (
        module.weight_gamma.flatten() * (module.weight.flatten(1).var(1) + 1e-5).rsqrt()
    ),
}


class StandardizedHelper(ConvHelper):
    """Raw weight and bias of a standardised convolution."""

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The gradients of weight and b / s."""
        weight, *bias = parts
        return super().join([weight, *(part * self._scale(part) for part in bias)])

    def split(self, matrix: Tensor) -> list[Tensor]:
        """Those of weight and bias."""
        weight, *bias = super().split(matrix)
        return [weight, *(part.flatten() * self._scale(part) for part in bias)]

    def _inputs(self, columns: Tensor) -> Tensor:
        return columns - columns.mean(1, keepdim=True)

    def _outputs(self, columns: Tensor) -> Tensor:
        return columns * self._scale(columns).view(self.groups, -1, 1)

    def _scale(self, like: Tensor) -> Tensor:
        return SCALES[type(self.module).__name__](self.module).detach().to(like)
