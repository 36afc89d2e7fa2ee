r"""K-FAC on one network: measure, solve, precondition, clip; knows no training framework.

.. math:: \begin{pmatrix} dW & db \end{pmatrix} \leftarrow
          (G + \tfrac{\sqrt\lambda}{\pi} I)^{-1} \begin{pmatrix} dW & db \end{pmatrix}
          (A + \pi \sqrt\lambda I)^{-1}

Source: Osawa et al., CVPR 2019. One update is: :meth:`KFAC.before_update`,
:meth:`KFAC.around_backward` around each backward pass, :meth:`KFAC.step` once the gradients are
averaged, the optimizer's step, :meth:`KFAC.after_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..compat import whole_float32
from ..distributed import Communicator
from .blocks import Shape
from .capture import Capture
from .clock import interval_at
from .distribution import assign, inversion_cost, preconditioning_cost
from .find import find_layers
from .inversion import invert
from .layer import KFACLayer
from .measurement import Measurement
from .sending import from_owners, send_solutions
from .settings import KFACSettings
from .solve import kl_multiplier

STATE_VERSION = 3
UNCALLED = 'used without a call of their module, as by F.linear or F.conv2d'
Matrices = dict[KFACLayer, Tensor]


def _work(shapes: Sequence[Shape], settings: KFACSettings) -> int:
    """What owning a layer costs from one inversion to the next."""
    updates = settings.inverse_interval if settings.sends_gradients else 0
    return inversion_cost(shapes) + updates * preconditioning_cost(shapes)


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
        owners = assign([_work(helper.shapes, settings) for helper in found.helpers], self.ranks)
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
        measured = self._capture.whole and self._measure(update)
        self._capture.reset()
        self._solve(update)
        plain, new = self._precondition()
        clip = self._clip(plain, new, rates, loss_scale) if plain else None
        if measured and plain:
            self._compare(plain, new, clip, loss_scale)
        for layer, matrix in new.items():
            layer.helper.write(matrix if clip is None else matrix * clip)
        return measured

    @torch.no_grad()
    def after_step(self) -> None:
        """Rescale the weights that a normalisation follows, if the settings ask for it."""
        if self.settings.rescale_weights:
            for layer in self.layers:
                layer.helper.rescale()

    def gather(self) -> None:
        """Bring all factors to rank 0 on all ranks, just before a checkpoint is written there.

        Without it a checkpoint of several ranks holds the clocks alone.
        """
        self._gathered = {layer.name: layer.state_dict(self.communicator) for layer in self.layers}

    def release(self) -> None:
        """Let go of what :meth:`gather` has brought."""
        self._gathered = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds; loads with ``weights_only=True``."""
        layers = self._gathered or {layer.name: layer.clock.state_dict() for layer in self.layers}
        if self.ranks == 1:
            layers = {layer.name: layer.state_dict(self.communicator) for layer in self.layers}
        return {
            'version': STATE_VERSION,
            'skipped': self.skipped,
            'solver': self.settings.solver,
            'layers': layers,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Inverse of :meth:`state_dict` for any number of ranks; whether it held factors.

        Raises:
            ValueError: another format, other layers, or factors of other sizes.
        """
        self._require_same(state)
        self.skipped = int(state['skipped'])
        same_solver = state['solver'] == self.settings.solver
        for layer in self.layers:
            layer.load_state_dict(state['layers'][layer.name], same_solver)
        return self.measured

    def _first_measured(self, count: int) -> int:
        """The index of the first measured pass in an update of ``count``."""
        return max(0, count - (self.settings.measured_passes or count))

    def _measures_next(self) -> bool:
        """Whether the coming backward pass is measured, if its update measures."""
        if self._place is None:
            return True
        index, count = self._place()
        return index >= self._first_measured(count)

    def _measure(self, update: int) -> bool:
        counts = self._measurement.finish(update, self._capture.images)
        self.skipped += not counts
        return counts

    def _solve(self, update: int | None = None) -> None:
        """Invert the factors that have moved, where it is time or for the first time."""
        interval, growing = self.settings.inverse_interval, self.settings.growing_intervals
        on_time = update is not None and update % interval_at(update, interval, growing) == 0
        due = [x for x in self.layers if x.measured and not x.tried and (on_time or not x.solved)]
        if due:
            self.unsolved = invert(due, self.communicator)
            if self.ranks > 1 and not self.settings.sends_gradients:
                send_solutions([layer for layer in due if layer.fresh], self.communicator)

    def _precondition(self) -> tuple[Matrices, Matrices]:
        """Gradient matrices by layer, plain and preconditioned, on all ranks."""
        plain: Matrices = {}
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

    def _clip(
        self,
        plain: Matrices,
        new: Matrices,
        rates: Mapping[int, float | Tensor],
        loss_scale: float | Tensor,
    ) -> Tensor | None:
        """What bounds the step, which stays on the device; None without a bound."""
        if self.settings.kl_clip is None:
            return None
        inner = torch.stack([(g * new[x]).sum() for x, g in plain.items()]).double()
        of_layers = [rates[id(x.parameters[0])] for x in plain]
        size = inner @ _on(inner, of_layers).square() / loss_scale / loss_scale
        return kl_multiplier(size, float(self.settings.kl_clip))

    def _compare(
        self, plain: Matrices, new: Matrices, clip: Tensor | None, loss_scale: float | Tensor
    ) -> None:
        """The gradients before and after, for the log; all numbers in one read."""
        rows = [
            torch.stack([(g * g).sum(), (new[x] * new[x]).sum(), (g * new[x]).sum()]).double()
            for x, g in plain.items()
        ]
        products = torch.stack(rows) / loss_scale / loss_scale
        last = products.new_ones(1, 3) if clip is None else clip.expand(1, 3)
        *listed, (self.kl_multiplier, *_) = torch.cat([products, last]).tolist()
        self.products = dict(zip(plain, listed))

    def _require_same(self, state: Mapping[str, Any]) -> None:
        if state.get('version') != STATE_VERSION:
            raise ValueError(
                f'the checkpoint holds K-FAC state of version {state.get("version")!r}, this '
                f'release reads {STATE_VERSION}: resume with the release that wrote it.'
            )
        ours, theirs = {layer.name for layer in self.layers}, set(state['layers'])
        if ours != theirs:
            name = sorted(ours ^ theirs)[0]
            where = 'the checkpoint' if name in theirs else 'this network'
            raise ValueError(
                f'the layer {name!r} is preconditioned by K-FAC only in {where}; resume with the '
                'model and the kfac options (norms, grouped, exclude) of the run that wrote the '
                'checkpoint.'
            )


def _on(like: Tensor, values: Sequence[float | Tensor]) -> Tensor:
    """The values as one tensor beside ``like``, without waiting for the device."""
    if not any(isinstance(value, Tensor) for value in values):
        return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)
    parts = [torch.as_tensor(value, dtype=like.dtype) for value in values]
    return torch.stack([part.to(like.device, non_blocking=True) for part in parts])
