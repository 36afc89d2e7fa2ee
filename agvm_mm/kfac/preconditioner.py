r"""K-FAC on one network: measure, solve, precondition, clip; knows no training framework.

.. math:: \begin{pmatrix} dW & db \end{pmatrix} \leftarrow
          (G + \tfrac{\sqrt\lambda}{\pi} I)^{-1} \begin{pmatrix} dW & db \end{pmatrix}
          (A + \pi \sqrt\lambda I)^{-1}

Source: Osawa et al., CVPR 2019. One update is: :meth:`KFAC.before_update`,
:meth:`KFAC.around_backward` around each backward pass, :meth:`KFAC.step` once the gradients are
averaged, the optimizer's step, :meth:`KFAC.after_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..compat import whole_float32
from ..distributed import Communicator
from .capture import Capture
from .clock import interval_at
from .distribution import assign, owning_cost
from .find import find_layers
from .inversion import invert
from .kl_clip import compare, kl_clip
from .layer import KFACLayer
from .measurement import Measurement
from .sending import from_owners, send_solutions
from .settings import KFACSettings
from .state import VERSION, layer_state, load_layer, require_same

UNCALLED = 'used without a call of their module, as by F.linear or F.conv2d'


class KFAC:
    """Preconditions the gradients of a network's layers, each on the rank that owns the layer.

    Args:
        network: the bare network; hooks are put on its layers.
        settings: the checked options.
        communicator: the data-parallel ranks; for its use alone, as it overlaps with others.
        place: returns the index of the coming backward pass within its update, and the passes of
            that update; None where every pass is measured.

    Attributes:
        skipped: measurements that were not finite.
        layers: what is preconditioned.
        products: of the last update that measured, by layer: squared length of the gradient, of the
            preconditioned one, and their inner product.
        kl_multiplier: of the KL clip at that update; 1 without a bound.
        unsolved: layers of which the last inversion has failed; they keep their old solution, or
            without any, their gradient.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: KFACSettings,
        communicator: Communicator,
        place: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        found = find_layers(network, settings)
        self.settings = settings
        self.communicator = communicator
        self.skipped = 0
        self._left = found.left
        for helper in found.helpers:
            helper.cut(settings.max_block)
        updates = settings.inverse_interval if settings.sends_gradients else 0
        work = [owning_cost(helper.shapes, updates) for helper in found.helpers]
        owners = assign(work, self.ranks)
        self.layers = [
            KFACLayer(helper, owner, owner == communicator.rank, settings)
            for helper, owner in zip(found.helpers, owners)
        ]
        self.products: dict[KFACLayer, list[float]] = {}
        self.kl_multiplier = 1.0
        self.unsolved: list[KFACLayer] = []
        self._place = place
        self._capture = Capture(self.layers, self._measures_next)
        self._measurement = Measurement(self.layers, communicator, settings.half)
        self._gathered: dict[str, dict[str, Any]] = {}

    @property
    def ranks(self) -> int:
        """Data-parallel ranks."""
        return self.communicator.size

    @property
    def overlaps(self) -> bool:
        """Whether sums are sent during the backward pass."""
        return self.ranks > 1 and self.settings.overlap and self.communicator.concurrent

    @property
    def left(self) -> dict[str, str]:
        """Why a parameter keeps its gradient, by name; a measurement may add to it."""
        names = [name for x in self.layers if x.uncalled for name in x.parameter_names]
        return {**self._left, **dict.fromkeys(names, UNCALLED)}

    @property
    def due(self) -> bool:
        """Whether the present update measures any layer."""
        return any(layer.due for layer in self.layers)

    @property
    def measured(self) -> bool:
        """Whether any layer has factors."""
        return any(layer.measured for layer in self.layers)

    @torch.no_grad()
    @whole_float32()
    def before_update(self, update: int) -> None:
        """Decide what the coming update measures; a run without factors measures all of them.

        After a resume, factors without a solution are inverted.
        """
        self.release()
        self._solve()
        started = self.measured
        for layer in self.layers:
            layer.begin(update, started)

    def around_backward(
        self, index: int, count: int, images: int, loss_scale: float | Tensor = 1.0
    ) -> AbstractContextManager[None]:
        """Around backward pass ``index`` of ``count``, see :meth:`Capture.around_backward`."""
        first = self._first_measured(count)
        if not self.due or index < first:
            return nullcontext()
        last = index + 1 == count
        if last:
            self._measurement.begin()
        send = self._measurement.send if last and self.overlaps else None
        return self._capture.around_backward(
            index - first, count - first, images, loss_scale / count, send
        )

    @torch.no_grad()
    @whole_float32()
    def step(
        self, update: int, rates: Mapping[int, float | Tensor], loss_scale: float | Tensor = 1.0
    ) -> bool:
        """Replace the gradients by preconditioned ones; the same on every rank.

        Args:
            update: the present one.
            rates: learning rate by ``id(parameter)``, for the KL clip.
            loss_scale: what the loss was multiplied by.

        Returns:
            Whether the factors were measured.
        """
        measured = self.due and self._measure(update)
        self._capture.reset()
        self._solve(update)
        plain, new = self._precondition()
        clip = kl_clip(plain, new, rates, loss_scale, self.settings.kl_clip)
        if measured and plain:
            self.products, self.kl_multiplier = compare(plain, new, clip, loss_scale)
        for layer, matrix in new.items():
            layer.helper.write(matrix if clip is None else matrix * clip)
        return measured

    @torch.no_grad()
    def after_step(self) -> None:
        """Rescale the weights that a normalisation follows, if the settings ask for it."""
        if self.settings.rescale_weights:
            for layer in self.layers:
                layer.helper.rescale()

    def detach(self) -> None:
        """Remove the hooks on the layers; what was measured can still be read."""
        self._capture.detach()

    def gather(self) -> None:
        """Bring all factors to rank 0 on all ranks, just before a checkpoint is written there.

        Without it a checkpoint of several ranks holds the clocks alone.
        """
        self._gathered = self._layer_states()

    def release(self) -> None:
        """Let go of what :meth:`gather` has brought."""
        self._gathered = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds; loads with ``weights_only=True``."""
        layers = self._gathered or {layer.name: layer.clock.state_dict() for layer in self.layers}
        if self.ranks == 1:
            layers = self._layer_states()
        return {
            'version': VERSION,
            'skipped': self.skipped,
            'solver': self.settings.solver,
            'layers': layers,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Inverse of :meth:`state_dict` for any number of ranks; whether it held factors.

        Raises:
            ValueError: another format, other layers, or factors of other sizes.
        """
        require_same(state, self.layers)
        self.skipped = int(state['skipped'])
        same_solver = state['solver'] == self.settings.solver
        for layer in self.layers:
            load_layer(layer, state['layers'][layer.name], same_solver)
        return self.measured

    def _layer_states(self) -> dict[str, dict[str, Any]]:
        return {layer.name: layer_state(layer, self.communicator) for layer in self.layers}

    def _first_measured(self, count: int) -> int:
        """The index of the first measured pass in an update of ``count``."""
        return max(0, count - (self.settings.measured_passes or count))

    def _measures_next(self) -> bool:
        """Whether the coming backward pass is measured, if its update measures."""
        index, count = (0, 1) if self._place is None else self._place()
        return index >= self._first_measured(count)

    def _measure(self, update: int) -> bool:
        whole = self._capture.whole
        if not whole:
            if self.ranks == 1:
                return False
            self._measurement.begin()  # other ranks may have missed no pass, and wait for this one
        counts = self._measurement.finish(update, self._capture.images if whole else None)
        self.skipped += counts is False
        return bool(counts)

    def _solve(self, update: int | None = None) -> None:
        """Invert the factors that have moved, where it is time or for the first time."""
        interval, growing = self.settings.inverse_interval, self.settings.growing_intervals
        on_time = update is not None and update % interval_at(update, interval, growing) == 0
        due = [x for x in self.layers if x.measured and not x.tried and (on_time or not x.solved)]
        if due:
            self.unsolved = invert(due, self.communicator)
            if self.ranks > 1 and not self.settings.sends_gradients:
                send_solutions([layer for layer in due if layer.fresh], self.communicator)

    def _precondition(self) -> tuple[dict[KFACLayer, Tensor], dict[KFACLayer, Tensor]]:
        """Gradient matrices by layer, plain and preconditioned, on all ranks."""
        plain: dict[KFACLayer, Tensor] = {}
        for layer in self.layers:
            matrix = layer.helper.matrix() if layer.solved else None
            if matrix is not None:
                plain[layer] = matrix.to(layer.helper.dtype)
        own = {x: x.precondition(matrix) for x, matrix in plain.items() if x.holds_solution}
        if self.ranks == 1 or not self.settings.sends_gradients:
            return plain, own
        parts = {x: own.get(x, matrix).reshape(-1) for x, matrix in plain.items()}
        sent = from_owners(parts, self.communicator)
        return plain, {x: part.view_as(plain[x]) for x, part in sent.items()}
