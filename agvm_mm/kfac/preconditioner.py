r"""K-FAC on one network: measure, average, invert, precondition; knows no training framework.

.. math:: \begin{pmatrix} dW & db \end{pmatrix} \leftarrow
          (G + \tfrac{\sqrt\lambda}{\pi} I)^{-1} \begin{pmatrix} dW & db \end{pmatrix}
          (A + \pi \sqrt\lambda I)^{-1}

Source: Osawa et al., CVPR 2019. One update is: :meth:`KFAC.capture` round each backward pass,
:meth:`KFAC.step` once the gradients are averaged, the optimizer's step, :meth:`KFAC.advance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ..gradients.communicator import Communicator
from .assignment import assign, inversion_cost
from .averages import Averages
from .capture import Capture
from .exchange import Exchange
from .find import find_layers
from .layers import Layer, UnitLayer
from .settings import KFACSettings
from .solve import clip_scale, precondition, solve
from .stale import StaleSchedule
from .traffic import Traffic, count_traffic

UNCALLED = 'used without a call of their module, as by F.linear or F.conv2d'


class KFAC:
    """Preconditions the gradients of a network's layers, each on the rank that owns the layer.

    Args:
        network: the bare network; hooks are put on its layers.
        settings: the checked options.
        communicator: the data-parallel ranks; for its use alone, as it overlaps with others.
        updates: optimizer updates already made.

    Attributes:
        update: optimizer updates made.
        skipped: measurements that were not finite.
        layers: what is preconditioned.
        left: why a parameter keeps its gradient, by name; a measurement may add to it.
        owners: rank of every layer.
        averages: the factors of this rank's layers.
        solutions: their inverses; None before the first.
        solved: of every layer, whether its owner has a solution.
        fresh: of every layer, whether the solution is that of the present factors.
        schedule: when each layer is measured.
        norms: (layers, 3) of the last update that measured: squared norm of the gradient, of the
            preconditioned one, and their inner product; None before.
        scale: of the KL clip at the last update.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: KFACSettings,
        communicator: Communicator,
        updates: int = 0,
    ) -> None:
        found = find_layers(network, settings)
        self.settings = settings
        self.communicator = communicator
        self.update = updates
        self.skipped = 0
        self.layers: Sequence[Layer] = found.layers
        self.left = found.left
        self.owners = assign([inversion_cost(layer.shapes) for layer in self.layers], self.ranks)
        count = len(self.layers)
        self.solutions: list[list[Tensor] | None] = [None] * count
        self.solved = [False] * count
        self.fresh = [False] * count
        self.schedule = StaleSchedule(count, settings.statistics_interval, settings.stale_threshold)
        self.averages = Averages(self.layers, self.owners, communicator, float(settings.momentum))
        self.norms: Tensor | None = None
        self.scale = 1.0
        self._capture = Capture(self.layers)
        self._exchange = Exchange(self.layers, self.owners, communicator, settings.half)
        self._plan()

    @property
    def ranks(self) -> int:
        """Data-parallel ranks."""
        return self.communicator.size

    @property
    def overlaps(self) -> bool:
        """Whether factors are sent during the backward pass."""
        return self.ranks > 1 and self.settings.overlap and self.communicator.concurrent

    @property
    def due(self) -> bool:
        """Whether any layer is measured on the present update."""
        return any(self._capture.due)

    def capture(
        self, index: int, count: int, images: int, loss_scale: float = 1.0
    ) -> AbstractContextManager[None]:
        """Around backward pass ``index`` of ``count``, see :meth:`Capture.watch`."""
        if not self.due:
            return nullcontext()
        last = index + 1 == count
        if last:
            self._exchange.begin(self._capture.due)
        early = last and self.overlaps
        return self._capture.watch(
            index, count, images, loss_scale, self._send_early if early else None
        )

    @torch.no_grad()
    def step(self, rates: Mapping[int, float], loss_scale: float = 1.0) -> bool:
        """Replace the gradients by preconditioned ones; the same on every rank.

        Args:
            rates: learning rate by ``id(parameter)``, for the KL clip.
            loss_scale: what the loss was multiplied with.

        Returns:
            Whether the factors were measured.
        """
        measured = self.due and self._capture.complete and self._measure()
        self._capture.reset()
        self._solve()
        plain, new = self._gather_preconditioned()
        if measured or self.settings.kl_clip is not None:
            self._compare(plain, new, rates, loss_scale)
        for index, matrix in new.items():
            self.layers[index].write(matrix if self.scale == 1.0 else matrix * self.scale)
        return measured

    def advance(self) -> None:
        """Count the update as made."""
        self.update += 1
        self._plan()

    def traffic(self) -> Traffic:
        """Bytes on the wire and in memory."""
        half, solver = self.settings.half and self.ranks > 1, self.settings.solver
        return count_traffic(self.layers, self.owners, self.ranks, half, solver)

    def owned(self, index: int) -> bool:
        """Whether this rank inverts the factors of the layer."""
        return self.owners[index] == self.communicator.rank

    def resume(self, update: int) -> None:
        """Go on from ``update``; a run without factors measures them at its first update."""
        self.update = update
        self._plan()

    def _plan(self) -> None:
        started = any(self.averages.measured)
        due = self.schedule.due(self.update)
        self._capture.due = due if started else [True] * len(self.layers)

    def _send_early(self, index: int) -> None:
        # The totals leave the capture: packed they take half the memory, and nothing may follow.
        totals, self._capture.totals[index] = self._capture.totals[index], None
        self._exchange.offer(index, totals)

    def _measure(self) -> bool:
        capture = self._capture
        sums = self._exchange.finish(capture.totals)
        due = capture.due
        changes = self.averages.update(sums, capture.positions, capture.images)
        if changes is None:
            self.skipped += 1
            return False
        for index, change in enumerate(changes):
            if due[index] and change is not None:
                self.fresh[index] = False
                self.schedule.measured(index, self.update, change)
        self._leave_uncalled()
        return True

    def _leave_uncalled(self) -> None:
        """List weights that have a gradient, the same on all ranks, and no call that tells why."""
        for index, layer in enumerate(self.layers):
            if self.averages.measured[index]:
                for name in layer.parameter_names:
                    self.left.pop(name, None)
            elif self._capture.due[index] and not self.averages.called[index]:
                gradients = [p.grad for p in layer.parameters]
                if any(gradient is not None and gradient.any() for gradient in gradients):
                    self.left.update(dict.fromkeys(layer.parameter_names, UNCALLED))

    def _solve(self) -> None:
        on_time = self.update % self.settings.inverse_interval == 0
        for index, measured in enumerate(self.averages.measured):
            if measured and not self.fresh[index] and (on_time or not self.solved[index]):
                self.invert(index)

    def invert(self, index: int) -> None:
        """Invert the factors of a layer if it is this rank's, and note that its owner has."""
        factors = self.averages.factors[index]
        if self.owned(index) and factors is not None:
            solution = solve(
                factors, self._damping(index), self.settings.solver, self.settings.dtype
            )
            # A checkpoint keeps no strides, and they decide how a product rounds.
            self.solutions[index] = [part.contiguous() for part in solution]
        self.solved[index] = self.fresh[index] = True

    def apply(self, index: int, gradients: Sequence[Tensor]) -> Tensor | None:
        """What :meth:`step` would make of other gradients of a layer of this rank.

        Args:
            index: of the layer.
            gradients: of its parameters, in their order.

        Returns:
            The preconditioned matrix; None before the factors were inverted.
        """
        layer = self.layers[index]
        if self.solutions[index] is None:
            return None
        return self._precondition(index, layer.join(gradients).to(layer.dtype))

    def _damping(self, index: int) -> float:
        unit = isinstance(self.layers[index], UnitLayer)
        return float(self.settings.damping * (self.settings.norm_damping if unit else 1))

    def _gather_preconditioned(self) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Gradient matrices by layer, plain and preconditioned, on all ranks."""
        plain = {}
        for index, layer in enumerate(self.layers):
            matrix = layer.matrix() if self.solved[index] else None
            if matrix is not None:
                plain[index] = matrix.to(layer.dtype)
        new = {i: self._precondition(i, m) if self.owned(i) else m for i, m in plain.items()}
        flying = []
        for rank in sorted({self.owners[index] for index in plain}):
            mine = [index for index in plain if self.owners[index] == rank]
            flat = torch.cat([new[index].reshape(-1) for index in mine])
            flying.append((mine, flat, self.communicator.start_broadcast(flat, rank)))
        for mine, flat, work in flying:
            work.wait()
            for index, part in zip(mine, flat.split([plain[i].numel() for i in mine])):
                new[index] = part.view_as(plain[index]).to(plain[index].dtype)
        return plain, new

    def _precondition(self, index: int, matrix: Tensor) -> Tensor:
        solution = self.solutions[index]
        assert solution is not None
        result = precondition(matrix, solution, self._damping(index))
        return torch.where(result.isfinite().all(), result, matrix)

    def _compare(
        self,
        plain: Mapping[int, Tensor],
        new: Mapping[int, Tensor],
        rates: Mapping[int, float],
        loss_scale: float,
    ) -> None:
        if not plain:
            return
        rows = [
            torch.stack([(g * g).sum(), (new[i] * new[i]).sum(), (g * new[i]).sum()]).double()
            for i, g in plain.items()
        ]
        found = torch.zeros(len(self.layers), 3, dtype=torch.float64)
        found[list(plain)] = torch.stack(rows).cpu() / loss_scale**2
        self.norms = found
        if self.settings.kl_clip is not None:
            squares = [rates[id(self.layers[i].parameters[0])] ** 2 for i in plain]
            size = found[list(plain), 2] @ torch.tensor(squares, dtype=torch.float64)
            self.scale = float(clip_scale(size, float(self.settings.kl_clip)))
