"""Sample gradients of one detector in one state: micro-batches stand for ranks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, load_checkpoint
from torch import Tensor

from agvm_runs.work_dir import type_name

from ..launch.checkpoint import require_plain
from ..launch.runner import load_config
from ..statistics import ModulePartition, partition_parameters
from .small_batch import agvm_keys


class GradientSource:
    """Draws micro-batches and gives their gradients; the weights stay as they are.

    The modules are those of the config's ``agvm.modules``.

    Args:
        config: a detector's training config.
        images: in a micro-batch.
        checkpoint: weights to load instead of the config's initial ones.
        seed: of weights, data order and sampling.
        device: of the model.

    Raises:
        ValueError: the config is missing, or its modules do not fit the model.
    """

    def __init__(
        self,
        config: str | Path,
        images: int = 2,
        checkpoint: str | None = None,
        seed: int = 0,
        device: str = 'cpu',
    ) -> None:
        self.settings: Config = load_config(str(config))
        settings = self.settings
        init_default_scope(settings.get('default_scope', 'mmdet'))
        torch.manual_seed(seed)
        self.model: Any = revert_sync_batchnorm(MODELS.build(settings.model))
        self.model.init_weights()
        if checkpoint is not None:
            require_plain(checkpoint)
            load_checkpoint(self.model, checkpoint, map_location='cpu')
        self.model.to(device)
        self.images = images
        loader = {**settings.train_dataloader, 'batch_size': images}
        loader['sampler'] = _finite_sampler(loader.get('sampler'), images)
        self._loader = Runner.build_dataloader(loader, seed=seed)
        self._epoch = 0
        self._batches = self._endless()
        self.model.train()
        modules = agvm_keys(settings).get('modules')
        self.partition: ModulePartition = partition_parameters(self.model, modules)

    def gradients(self, count: int) -> Iterator[list[Tensor]]:
        """``count`` sample gradients, each a list of one tensor a parameter, float32."""
        for _ in range(count):
            self.model.zero_grad(set_to_none=True)
            data = self.model.data_preprocessor(self.next_batch(), True)
            loss, _ = self.model.parse_losses(self.model(**data, mode='loss'))
            loss.backward()
            yield [
                torch.zeros_like(p) if p.grad is None else p.grad for p in self.partition.parameters
            ]

    def __len__(self) -> int:
        """Images of the data set."""
        return len(self._loader.dataset)

    def next_batch(self) -> Any:
        """The next micro-batch, as the data loader gives it."""
        return next(self._batches)

    def restart(self) -> None:
        """Begin a new epoch: no image of the next ones comes twice while the data last."""
        self._batches = self._endless()

    def _endless(self) -> Iterator[Any]:
        # A batch sampler such as AspectRatioBatchSampler holds the sampler that draws the images.
        batches = self._loader.batch_sampler
        samplers = [self._loader.sampler, batches, getattr(batches, 'sampler', None)]
        while True:
            for sampler in samplers:
                if hasattr(sampler, 'set_epoch'):
                    sampler.set_epoch(self._epoch)
            self._epoch += 1
            empty = True
            for batch in self._loader:
                empty = False
                yield batch
            if empty:
                raise ValueError(
                    f'train_dataloader.sampler ({type(self._loader.sampler).__name__}) gives no '
                    "image in a second epoch; allowed is one that starts anew, as 'DefaultSampler'."
                )


def _finite_sampler(given: Any, images: int) -> Any:
    """The sampler of the config, with the end of an epoch.

    MMEngine's InfiniteSampler, of runs that count iterations, cannot be started a second time.
    """
    name = type_name(given)
    if name == 'InfiniteSampler':
        return dict(type='DefaultSampler', shuffle=given.get('shuffle', True))
    size = given.get('batch_size') if name else None
    if size is not None and size != images:
        raise ValueError(
            f'train_dataloader.sampler ({name}) makes batches of {size} images from several '
            f'sources, and --images is {images}: give --images {size}.'
        )
    return given
