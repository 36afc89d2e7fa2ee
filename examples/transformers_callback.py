"""AGVM in transformers' Trainer: ``trainer.add_callback(AGVMCallback(trainer, ...))``."""

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import agvm_mm


class AGVMCallback(TrainerCallback):
    """Scales the learning rates of a model's modules by their gradient variance.

    Args:
        trainer: that calls this callback.
        **options: of :func:`agvm_mm.attach`, such as ``modules`` and ``agvm``.

    Attributes:
        handle: of the training; None before it starts.
    """

    def __init__(self, trainer: Trainer, **options: Any) -> None:
        self.trainer = trainer
        self.options = options
        self.handle: agvm_mm.Handle | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Attach to the model and the optimizer that Accelerate has wrapped."""
        self.handle = agvm_mm.attach(
            self.trainer.model_wrapped,
            getattr(self.trainer.optimizer, 'optimizer', self.trainer.optimizer),
            accumulation=args.gradient_accumulation_steps,
            scaler=self.trainer.accelerator.scaler,
            **self.options,
        )
        file = Path(args.output_dir, f'checkpoint-{state.global_step}', 'agvm.pt')
        if state.global_step and file.exists():
            self.handle.load_state_dict(torch.load(file, weights_only=True))

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        """Add phi, noise scale, scale and learning rate of every module."""
        logs.update(self.handle.scalars() if self.handle else {})

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Save the state; the Trainer calls this on all ranks."""
        if self.handle is None:
            return
        values = self.handle.state_dict(on_all_ranks=True)
        if state.is_world_process_zero:
            torch.save(values, Path(args.output_dir, f'checkpoint-{state.global_step}', 'agvm.pt'))

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Let go of the optimizer; the handle can still be read."""
        if self.handle is not None:
            self.handle.detach()
