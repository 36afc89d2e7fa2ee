"""K-FAC of one layer: the sums of an update, its factors, its solution and its clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..distributed import Communicator
from .blocks import Shape
from .clock import Clock
from .convolution import ConvHelper
from .distribution import full_size, pack, packed_size, unpack
from .modules import ModuleHelper, NormHelper
from .settings import WHERE, KFACSettings
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
        self._settings = settings
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
        return [self._zeros(shape) for shape in self.helper.shapes] if sums is None else sums

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
            momentum = float(self._settings.momentum)
            factors = [torch.lerp(new, old, momentum) for new, old in zip(factors, self.factors)]
            if self._settings.stale_threshold is not None:
                changes = [_change(new, old) for new, old in zip(factors, self.factors)]
                change = torch.stack(changes).max()
        elif self._settings.stale_threshold is not None:
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
        settings = self._settings
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
        shapes, symmetric = self._solution_shapes
        return packed_size(shapes) if symmetric else full_size(shapes)

    def pack_solution(self) -> Tensor:
        """The solution as a vector, of a symmetric inverse one triangle; zeros elsewhere."""
        _, symmetric = self._solution_shapes
        if not self.owned:
            return self._zeros((self.pack_size,))
        assert self.solution is not None
        if symmetric:
            return pack(self.solution)
        return torch.cat([part.reshape(-1) for part in self.solution])

    def take_solution(self, vector: Tensor) -> None:
        """Inverse of :meth:`pack_solution`."""
        shapes, symmetric = self._solution_shapes
        if symmetric:
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

    def state_dict(self, communicator: Communicator) -> dict[str, Any]:
        """Clock and, on rank 0, packed factors, called on all ranks; the tensors on the CPU.

        A solution is sent only where the factors have moved on since; else it follows from them.
        """
        state: dict[str, Any] = self.clock.state_dict()
        if not self.measured:
            return state
        shapes = self.helper.shapes
        factors = None if self.factors is None else pack(self.factors)
        tensors: dict[str, Any] = {
            'factors': self._collect(factors, packed_size(shapes), communicator)
        }
        if self.solved and not self.fresh:
            parts, _ = self._solution_shapes
            held = self.solution if self.owned else None
            own = [None] * len(parts) if held is None else held
            tensors['solution'] = [
                self._collect(part, full_size([shape]), communicator).reshape(shape)
                for part, shape in zip(own, parts)
            ]
        return {**state, **tensors} if communicator.rank == 0 else state

    def load_state_dict(self, state: Mapping[str, Any], same_solver: bool) -> None:
        """Inverse of :meth:`state_dict` for any number of ranks; nothing without factors.

        Without a solution of the run's own kind in it, the factors are to be inverted.

        Args:
            state: of the layer.
            same_solver: whether a solution in it is of the run's own kind.

        Raises:
            ValueError: factors of another size.
        """
        if 'factors' not in state:
            return
        found, wanted = state['factors'].numel(), packed_size(self.helper.shapes)
        if found != wanted:
            raise ValueError(
                f'the checkpoint holds factors of {found} numbers for the layer {self.name!r} and '
                f'this run has {wanted} ({WHERE}.max_size={self._settings.max_size}, '
                f'{WHERE}.max_block={self._settings.max_block}); resume with '
                'the model, max_size and max_block of the run that wrote the checkpoint.'
            )
        self.clock.load_state_dict(state)
        self.measured = True
        if self.owned:
            self.factors = unpack(self._own(state['factors']), self.helper.shapes)
        if 'solution' in state and same_solver:
            if self.owned or not self._settings.sends_gradients:
                self.solution = [self._own(part) for part in state['solution']]
            self.solved = True

    @property
    def _solution_shapes(self) -> tuple[list[Shape], bool]:
        """Of its parts, and whether they are symmetric."""
        shapes, solver = self.helper.shapes, self._settings.solver
        return solution_shapes(shapes, solver), solver == 'cholesky' or len(shapes) == 1

    def _collect(self, own: Tensor | None, size: int, communicator: Communicator) -> Tensor:
        vector = self._zeros((size,)) if own is None else own.reshape(-1).clone()
        communicator.start_reduce(vector, 0).wait()
        return vector.cpu()

    def _zeros(self, shape: tuple[int, ...]) -> Tensor:
        return self.parameters[0].new_zeros(shape, dtype=self.helper.dtype)

    def _no(self) -> Tensor:
        return self.parameters[0].new_zeros((), dtype=torch.float64)

    def _own(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.parameters[0].device, self.helper.dtype)


def _change(new: Tensor, old: Tensor) -> Tensor:
    # Squares of factors that are large but finite would overflow in float32.
    return _length(new - old) / _length(old)


def _length(factor: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(factor, dtype=torch.float64)
    return length
