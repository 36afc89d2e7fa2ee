"""AGVM in Lightning, with automatic optimization: ``Trainer(callbacks=[AGVMCallback(...)])``."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

import agvm_mm


class AGVMCallback(Callback):
    """Scales the learning rates of a model's modules by their gradient variance.

    Args:
        **options: of :func:`agvm_mm.attach`, such as ``modules`` and ``agvm``.

    Attributes:
        handle: of the training; None before it starts.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.handle: agvm_mm.Handle | None = None
        self._state: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach to the model as the strategy has wrapped it."""
        (optimizer,) = trainer.optimizers
        self.handle = agvm_mm.attach(
            trainer.strategy.model,
            optimizer,
            accumulation=trainer.accumulate_grad_batches,
            scaler=getattr(trainer.precision_plugin, 'scaler', None),
            **self.options,
        )
        if self._state:
            self.handle.load_state_dict(self._state)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Log phi, noise scale, scale and learning rate of every module."""
        if self.handle is not None:
            pl_module.log_dict(self.handle.scalars())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let go of the optimizer; the handle can still be read."""
        if self.handle is not None:
            self.handle.detach()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of the trainer holds; Lightning asks for it on all ranks."""
        return self._state if self.handle is None else self.handle.state_dict(on_all_ranks=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the training starts."""
        self._state = state_dict
