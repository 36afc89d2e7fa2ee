"""What parts say, in the words of ``attach``: they name keys of MMEngine's configs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

LOGGER = logging.getLogger('agvm_mm')

WORDS = (
    (r'set total_batch_size to .*? \(--total-batch-size of tools/train\.py\), ', ''),
    (r" \(model_wrapper_cfg\.type, or strategy\.type='DDPStrategy'\)", ''),
    (r' \(model_wrapper_cfg\.type\)', ''),
    (
        r"set model_wrapper_cfg\.type='MMDistributedDataParallel'",
        'attach to the model in DistributedDataParallel',
    ),
    (r'; use AGVMAmpOptimWrapper or PartsAmpOptimWrapper instead', '; use torch.autocast instead'),
    (r' or correct optim_wrapper\.constructor', ' or give it to the optimizer'),
    (r'before the runner is built', 'before the model is wrapped'),
    (r' with optim_wrapper\.paramwise_cfg\.custom_keys', ''),
    (r' and call update_params for each', ''),
    (r"custom_hooks=\[dict\(type='KFACStateHook'\)\] keeps", 'state_dict(on_all_ranks=True) keeps'),
    (r'optim_wrapper\.optimizer\.type is', 'the optimizer is'),
    (r'(optim_wrapper\.)?accumulative_counts', 'accumulation'),
    (r'(optim_wrapper\.)?clip_grad\b', 'clip'),
    (r'optim_wrapper\.', ''),
    (r'MMDistributedDataParallel', 'DistributedDataParallel'),
)


def in_words_of_attach(text: str) -> str:
    """The sentence with the arguments of ``attach`` in the place of a config's keys."""
    for pattern, words in WORDS:
        text = re.sub(pattern, words, text)
    return text


@contextmanager
def said_by_attach() -> Iterator[None]:
    """Let errors from the code inside speak of the arguments of ``attach``."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        error.args = tuple(
            in_words_of_attach(arg) if isinstance(arg, str) else arg for arg in error.args
        )
        raise


class LastScalars:
    """Text goes to Python's logger ``agvm_mm``; the last scalars are kept.

    Attributes:
        values: by name, such as 'agvm/phi/backbone'.
    """

    def __init__(self) -> None:
        self.values: dict[str, float | Tensor] = {}

    def say(self, text: str, warning: bool = False) -> None:
        """Write ``text`` to the log."""
        LOGGER.log(logging.WARNING if warning else logging.INFO, in_words_of_attach(text))

    def scalars(self, values: Mapping[str, float | Tensor]) -> None:
        """Keep values of the present update; those on a device are read when they are asked for."""
        self.values.update(values)

    def drop(self, names: Iterable[str]) -> None:
        """Forget values that are out of date."""
        for name in names:
            self.values.pop(name, None)
