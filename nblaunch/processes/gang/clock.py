"""The clock of a gang's ranks, which stands still while they are stopped, as by Ctrl-Z."""

from __future__ import annotations

import time

__all__ = ["RanksClock"]


class RanksClock:
    """Seconds of ``time.monotonic()``, without those for which the ranks were stopped.

    A deadline on this clock leaves the ranks as much time as it should, however long they were stopped meanwhile.
    """

    def __init__(self) -> None:
        self._stopped = 0.0
        self._stopped_at: float | None = None

    @property
    def stands_still(self) -> bool:
        """Whether the ranks are stopped."""
        return self._stopped_at is not None

    def now(self) -> float:
        """Return the time; the same again and again while the ranks are stopped."""
        at = self._stopped_at
        return (time.monotonic() if at is None else at) - self._stopped

    def monotonic(self, at: float) -> float:
        """Return when ``time.monotonic()`` comes to a time of this clock, if the ranks are not stopped until then."""
        return at + self._stopped

    def stop(self, at: float) -> None:
        """Stand still from ``time.monotonic() == at`` on."""
        self._stopped_at = at

    def go_on(self, at: float) -> float:
        """Go on at ``time.monotonic() == at``; return the seconds for which the clock stood still."""
        seconds = 0.0 if self._stopped_at is None else at - self._stopped_at
        # in this order: another thread that asks meanwhile is told of an earlier time, which ends nothing too early
        self._stopped += seconds
        self._stopped_at = None
        return seconds
