"""Lines of the terminal that a person can read."""

from __future__ import annotations

import math
import re
from typing import Any

from mmengine.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor

from ..parts import AGVMPart
from ..wrappers import PartsMixin, accumulation

# Values of parts: `agvm/phi/neck: 0.5123`, `agvm/neck.lr: 2.0000e-02`, `kfac/damping: 0.0100`.
OF_PARTS = re.compile(r'(?<=\s)(?:agvm|kfac)/\S+: \S+\s*')
MOST = 8  # modules whose scales are named one by one


@LOG_PROCESSORS.register_module()
class AGVMLogProcessor(LogProcessor):
    """MMEngine's log lines with one short column for AGVM; the tools set it.

    A line shows the losses, the learning rate, the time left and ``scale 1.00/1.21/1.13/1.34``, the
    scales of the modules in the order of the table at the start. With gradient accumulation it
    shows the update beside the iteration. Everything else reaches the JSON file, TensorBoard and
    the other back-ends as before. To see all of it in the terminal, set
    ``log_processor.full=True``.

    Args:
        full: leave the lines as MMEngine writes them.
        kwargs: of MMEngine's ``LogProcessor``.
    """

    def __init__(self, full: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.full = full

    def get_log_after_iter(
        self, runner: Any, batch_idx: int, mode: str
    ) -> tuple[dict[str, Any], str]:
        """The values for the back-ends and the line for the terminal."""
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        wrapper = runner.optim_wrapper
        if mode != 'train' or self.full or not isinstance(wrapper, PartsMixin):
            return tag, line
        return tag, '  '.join([OF_PARTS.sub('', line).rstrip(), *_columns(runner, wrapper)])


def _columns(runner: Any, wrapper: PartsMixin) -> list[str]:
    columns = []
    counts = accumulation(wrapper)
    if counts > 1:
        columns.append(f'update: {wrapper.updates}/{math.ceil(runner.max_iters / counts)}')
    part = wrapper.part(AGVMPart)
    if part is not None:
        scales = part.scales(max(wrapper.updates - 1, 0))
        few = len(scales) <= MOST
        shown = '/'.join(map('{:.2f}'.format, scales))
        columns.append(f'scale {shown if few else f"{min(scales):.2f} to {max(scales):.2f}"}')
    return columns
