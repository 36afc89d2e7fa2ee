"""Wall-clock and CPU seconds of what hooks time."""

from __future__ import annotations

import time


class Stopwatch:
    """Adds up the time between :meth:`start` and :meth:`stop`; stands until it is started.

    Attributes:
        spent: wall-clock seconds and CPU seconds of this process.
    """

    def __init__(self) -> None:
        self.spent = (0.0, 0.0)
        self._since: tuple[float, float] | None = None

    def start(self) -> None:
        """Run on from now."""
        self._since = _now()

    def stop(self) -> None:
        """Stand; a watch that stands already is left as it is."""
        if self._since is not None:
            passed = (now - since for now, since in zip(_now(), self._since))
            wall, cpu = (before + more for before, more in zip(self.spent, passed))
            self.spent, self._since = (wall, cpu), None


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
