"""K-FAC of one layer: the sums of an update, its factors, its solution and its clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .blocks import Shape
from .clock import Clock
from .convolution import ConvHelper
from .distribution import full_size, pack, packed_size, unpack
from .modules import ModuleHelper, NormHelper
from .settings import KFACSettings
from .solve import diagonal, precondition, solution_shapes, solve


class KFACLayer:
    r"""One layer, which one rank owns: it averages the factors, inverts and preconditions.

    .. math:: \bar F \leftarrow m \bar F + (1 - m) F, \qquad \bar F = F \text{ the first time.}

    Args:
        helper: of the module.
        owner: the rank.
        owned: whether that is this rank.
        settings: the checked options.

    Attributes:
        settings: the checked options.
        clock: when the layer is measured.
        due: whether the present update measures it.
        sums: over this rank's backward passes of the update; None where no gradient arrived.
        positions: in the sums.
        sent: whether the sums have left for the owner.
        uncalled: whether the weight has a gradient and no call of the module tells why.
        measured: whether the owner has factors.
        solved: whether the owner has a solution.
        fresh: whether the solution is that of the present factors.
        tried: whether the present factors were inverted, with or without success.
        factors: the moving averages on the owner; None elsewhere and before the first measurement.
        solution: what :func:`solve` makes of them, on the owner, and on all ranks if the settings
            send solutions; None elsewhere and before the first.
    """

    def __init__(
        self, helper: ModuleHelper, owner: int, owned: bool, settings: KFACSettings
    ) -> None:
        self.helper = helper
        self.name = helper.name
        self.parameters = helper.parameters
        self.owner = owner
        self.owned = owned
        self.clock = Clock(
            settings.statistics_interval, settings.stale_threshold, settings.growing_intervals
        )
        self.due = True
        self.uncalled = self.measured = self.solved = self.fresh = self.tried = False
        self.factors: list[Tensor] | None = None
        self.solution: list[Tensor] | None = None
        self._found: list[Tensor] | None = None
        self.settings = settings
        multiple = settings.norm_damping if isinstance(helper, NormHelper) else 1
        self._damping = float(settings.damping * multiple)
        if isinstance(helper, ConvHelper):
            helper.max_positions = settings.max_positions
        self.forget()

    @property
    def parameter_names(self) -> list[str]:
        """Of :attr:`parameters`, in the network."""
        return self.helper.parameter_names

    def has_gradient(self) -> Tensor:
        """1 if a gradient other than zero has reached the parameters, after a backward pass."""
        found = [p.grad.any() for p in self.parameters if p.grad is not None]
        return torch.stack(found).any().double() if found else self._no()

    def begin(self, update: int, started: bool) -> None:
        """Whether the coming update measures the layer: all without any factors in the run."""
        self.due = self.clock.due(update) if started else True
        if isinstance(self.helper, ConvHelper):
            self.helper.seed = f'{update} {self.name}'

    def forget(self) -> None:
        """Forget the sums of the last update."""
        self.sums: list[Tensor] | None = None
        self.positions = 0
        self.sent = False
        self._proposed: list[Tensor] | None = None

    def add(self, context: Any, gradient: Tensor) -> None:
        """Add one call to the sums, see :meth:`ModuleHelper.add`."""
        if self.sums is None:
            self.sums = [
                gradient.new_zeros(shape, dtype=self.helper.dtype) for shape in self.helper.shapes
            ]
        self.positions += self.helper.add(self.sums, context, gradient)

    def take_sums(self) -> list[Tensor]:
        """The sums, of dense ones the lower triangles; nothing may be added any more."""
        sums, self.sums, self.sent = self.sums, None, True
        return [self.zeros(shape) for shape in self.helper.shapes] if sums is None else sums

    def propose(self, sums: list[Tensor], images: float, positions: float) -> Tensor:
        """Take sums over all ranks into the averages, which wait for :meth:`accept`.

        A layer that no rank has used, or whose gradients are all zero, keeps its factors.

        Returns:
            1 if the sums are not finite, 1 if there are new factors, and their relative change,
            which is 0 where the settings do not ask for it; on the device.
        """
        if positions == 0:
            return torch.stack([self._no()] * 3)
        factors = self.helper.divide(sums, images, positions)
        finite = torch.stack([factor.sum().isfinite() for factor in factors]).all()
        seen = torch.stack([diagonal(factor).sum() > 0 for factor in factors]).all()
        change = self._no()
        if self.factors is not None:
            # Not in place: a measurement that is found bad elsewhere must leave no trace.
            momentum = float(self.settings.momentum)
            factors = [torch.lerp(new, old, momentum) for new, old in zip(factors, self.factors)]
            if self.settings.stale_threshold is not None:
                changes = [_change(new, old) for new, old in zip(factors, self.factors)]
                change = torch.stack(changes).max()
        elif self.settings.stale_threshold is not None:
            change = self._no() + 1
        self._proposed = factors
        valid = finite & seen
        flags = torch.stack([~finite, valid]).double()
        return torch.cat([flags, torch.where(valid, change, 0.0)[None]])

    def accept(self, update: int, change: float) -> None:
        """On all ranks: the owner's new factors count."""
        if self._proposed is not None:
            self.factors = self._proposed
        self.measured, self.uncalled, self.fresh, self.tried = True, False, False, False
        self.clock.measured(update, change)

    def solve(self, thorough: bool = False) -> Tensor:
        """Invert the factors on the owner; the solution waits for :meth:`conclude`.

        Returns:
            1 if that has failed, 0 on the other ranks; on the device.
        """
        self._found = None
        if self.factors is None:
            return self._no()
        settings = self.settings
        try:
            found = solve(self.factors, self._damping, settings.solver, settings.dtype, thorough)
        except RuntimeError:  # the other ranks wait for this layer's gradient
            return self._no() + 1
        # A checkpoint keeps no strides, and they decide how a product rounds.
        self._found = [part.contiguous() for part in found]
        return 1 - torch.stack([part.isfinite().all() for part in found]).all().double()

    def conclude(self, solved: bool) -> None:
        """On all ranks: the owner's solution counts, or the old one stays."""
        self.tried = True
        if solved:
            self.solution = self._found
            self.solved = self.fresh = True
        self._found = None

    @property
    def holds_solution(self) -> bool:
        """Whether this rank can precondition the layer's gradient."""
        return self.solution is not None

    @property
    def pack_size(self) -> int:
        """Numbers that :meth:`pack_solution` returns."""
        size = packed_size if self._symmetric else full_size
        return size(self.solution_shapes)

    def pack_solution(self) -> Tensor:
        """The solution as a vector, of a symmetric inverse one triangle; zeros elsewhere."""
        if not self.owned:
            return self.zeros((self.pack_size,))
        assert self.solution is not None
        if self._symmetric:
            return pack(self.solution)
        return torch.cat([part.reshape(-1) for part in self.solution])

    def take_solution(self, vector: Tensor) -> None:
        """Inverse of :meth:`pack_solution`."""
        shapes = self.solution_shapes
        if self._symmetric:
            self.solution = unpack(vector, shapes)
        else:
            parts = vector.split([full_size([shape]) for shape in shapes])
            self.solution = [part.reshape(shape).clone() for part, shape in zip(parts, shapes)]

    def precondition(self, matrix: Tensor) -> Tensor:
        """A gradient matrix preconditioned, with a solution; itself where that is not finite."""
        assert self.solution is not None
        result = precondition(matrix, self.solution, self._damping)
        return torch.where(result.sum().isfinite(), result, matrix, out=result)

    def apply(self, gradients: Sequence[Tensor]) -> Tensor | None:
        """What a step would make of other gradients of :attr:`parameters`, on the owner.

        Returns:
            One vector; None before the factors were inverted.
        """
        if self.solution is None:
            return None
        matrix = self.precondition(self.helper.join(gradients).to(self.helper.dtype))
        return torch.cat([part.flatten() for part in self.helper.split(matrix)])

    @property
    def solution_shapes(self) -> list[Shape]:
        """Of its parts."""
        return solution_shapes(self.helper.shapes, self.settings.solver)

    @property
    def _symmetric(self) -> bool:
        """Whether the parts of the solution are."""
        return self.settings.solver == 'cholesky' or len(self.helper.shapes) == 1

    def zeros(self, shape: Shape) -> Tensor:
        """On the device of the weights, in the precision of the factors."""
        return self.parameters[0].new_zeros(shape, dtype=self.helper.dtype)

    def _no(self) -> Tensor:
        return self.parameters[0].new_zeros((), dtype=torch.float64)


def _change(new: Tensor, old: Tensor) -> Tensor:
    # Squares of factors that are large but finite would overflow in float32.
    return _length(new - old) / _length(old)


def _length(factor: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(factor, dtype=torch.float64)
    return length
