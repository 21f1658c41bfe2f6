"""What looks after the ranks of a gang at intervals: the contract between a gang and whoever looks.

Events wake a gang, and most of the time nothing does. What no event tells, such as how large a log file has grown or
that a rank does nothing any more, is seen by a *periodic check*. The gang asks it again and again, from the
start of its ranks until the last is gone, while it ends them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nblaunch.events import Event

__all__ = ["PeriodicCheck", "PeriodicChecks"]


class PeriodicCheck(Protocol):
    """Looks after the ranks of one gang.

    Attributes
    ----------
    period : float
        Seconds between two looks.
    """

    period: float

    def stopped_for(self, seconds: float) -> None:
        """Take note that the ranks were stopped, with the program, for so long until now."""

    def look(self, now: float) -> Iterable[Event]:
        """Look, at the time ``time.monotonic() == now``, and return what the gang is to tell.

        Called in the gang's supervisor thread, so it must not block. A periodic check that raises is not asked again.
        """


class PeriodicChecks:
    """The periodic checks of one gang, and when each is due.

    All times are those of the clock by which the caller counts.
    """

    def __init__(self, periodic_checks: Iterable[PeriodicCheck]) -> None:
        self._checks = list(periodic_checks)
        # each with the time of its next look
        self._due: list[tuple[float, PeriodicCheck]] = []

    def begin(self, now: float) -> None:
        """Have them asked from now on."""
        self._due = [(now + check.period, check) for check in self._checks]

    def deadlines(self) -> Iterable[tuple[float, PeriodicCheck]]:
        """Return when each is due."""
        return list(self._due)

    def put_back(self, periodic_check: PeriodicCheck, now: float) -> None:
        """Have one asked again later, after the others, so that each gets its turn."""
        self.forget(periodic_check)
        self._due.append((now + periodic_check.period, periodic_check))

    def forget(self, periodic_check: PeriodicCheck) -> None:
        """Ask one no more."""
        self._due = [(at, check) for at, check in self._due if check is not periodic_check]

    def stopped_for(self, seconds: float) -> None:
        """Take note that the ranks were stopped, with the program, for so long until now."""
        for _, check in self._due:
            check.stopped_for(seconds)
