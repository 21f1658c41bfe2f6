"""`PeriodicCheck`: what a gang asks at intervals about its ranks; `PeriodicChecks`: when each is due.

A gang waits for events. What no event tells, such as how large a log file has grown or that a rank does nothing any
more, a *periodic check* finds out. The gang asks it at intervals from the start of its ranks until the last one is
gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Protocol

from nblaunch.events import Event

__all__ = ["PeriodicCheck", "PeriodicChecks"]

logger: logging.Logger = logging.getLogger(__name__)


class PeriodicCheck(Protocol):
    """Looks at the ranks of one gang.

    Attributes
    ----------
    period : float
        Seconds between two looks.
    """

    period: float

    def stopped_for(self, seconds: float) -> None:
        """Take note that the ranks were stopped with the program, as by Ctrl-Z, for so many seconds until now."""

    def look(self, now: float) -> Iterable[Event]:
        """Look, at the time ``time.monotonic() == now``, and return what the gang is to tell.

        Called in the gang's supervisor thread, so it must not block. A periodic check that raises is not asked again.
        """


class PeriodicChecks:
    """The periodic checks of one gang, and when each is due, on the ranks' clock."""

    def __init__(self, periodic_checks: Iterable[PeriodicCheck]) -> None:
        self._checks = list(periodic_checks)
        # each with the time of its next look
        self._due: list[tuple[float, PeriodicCheck]] = []

    def begin(self, now: float) -> None:
        """Begin to count their periods."""
        self._due = [(now + check.period, check) for check in self._checks]

    def deadlines(self) -> Iterable[tuple[float, PeriodicCheck]]:
        """Return when each is due."""
        return list(self._due)

    def ask(self, periodic_check: PeriodicCheck, now: float) -> Iterable[Event]:
        """Return what a check has seen. It is due again after the others, so that each gets its turn."""
        self._due = [(at, check) for at, check in self._due if check is not periodic_check]
        try:
            found = list(periodic_check.look(time.monotonic()))
        except BaseException:
            # SystemExit too: in this thread it would end nothing but the supervision
            logger.exception("%r failed and is not asked again", periodic_check)
            return []
        self._due.append((now + periodic_check.period, periodic_check))
        return found

    def stopped_for(self, seconds: float) -> None:
        """Tell the checks that the ranks were stopped with the program for so many seconds until now."""
        for _, check in self._due:
            check.stopped_for(seconds)
