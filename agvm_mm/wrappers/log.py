"""Where parts report under MMEngine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from mmengine.logging import MessageHub, print_log


class MessageHubLog:
    """Text goes to MMEngine's logger, scalars to its message hub under ``train/``."""

    def __init__(self, message_hub: MessageHub) -> None:
        self._message_hub = message_hub

    def say(self, text: str, warning: bool = False) -> None:
        """Write ``text`` to the run's log."""
        print_log(text, logger='current', level=logging.WARNING if warning else logging.INFO)

    def scalars(self, values: Mapping[str, float]) -> None:
        """Record values of the present update."""
        for name, value in values.items():
            self._message_hub.update_scalar(f'train/{name}', value)

    def drop(self, names: Iterable[str]) -> None:
        """Take values out of the message hub, which would log old ones as new."""
        for name in names:
            self._message_hub.log_scalars.pop(f'train/{name}', None)
