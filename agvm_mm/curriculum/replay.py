"""Images used more than once: less loading for the cheap iterations of a curriculum."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import numpy as np


class ReplayBuffer:
    """The latest samples of one rank, as the data loader gave them: augmented, on the CPU.

    Each sample is a chunk of its own; the reference keeps 32 chunks a batch, its batches being
    a hundred times larger. The oldest are dropped. The buffer is not part of a checkpoint.

    Args:
        batches: how many batches of the loader are kept.
    """

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self._samples: deque[dict[str, Any]] = deque()

    def __len__(self) -> int:
        return len(self._samples)

    def extend(self, data_batch: Any, times: int, seed: tuple[int, ...]) -> None:
        """Keep a batch and make it ``times`` as large, in place.

        (times - 1) x its size samples are drawn uniformly, with replacement, from all that are
        kept, the new ones among them. They are copies: a data preprocessor may move boxes in
        place.

        Args:
            data_batch: lists by key, of equal length, as ``pseudo_collate`` makes them.
            times: images of the result over those of the batch.
            seed: of the draw.

        Raises:
            ValueError: the batch is collated into tensors.
        """
        if not isinstance(data_batch, dict) or not all(
            isinstance(values, list) for values in data_batch.values()
        ):
            raise ValueError(
                'CurriculumHook.stages asks for replay and the batches of train_dataloader are no '
                "lists; allowed is collate_fn=dict(type='pseudo_collate')."
            )
        fresh = [dict(zip(data_batch, values)) for values in zip(*data_batch.values())]
        self._samples.extend(copy.deepcopy(fresh))
        while len(self._samples) > self.batches * len(fresh):
            self._samples.popleft()
        draws = np.random.default_rng(seed).integers(
            len(self._samples), size=(times - 1) * len(fresh)
        )
        for index in draws:
            for key, value in copy.deepcopy(self._samples[index]).items():
                data_batch[key].append(value)
