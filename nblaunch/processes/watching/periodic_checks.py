"""What looks after the ranks of a gang at intervals: the contract between a gang and whoever looks.

Events wake a gang, and most of the time nothing does. What no event tells, such as how large a log file has grown or
that a rank does nothing any more, is seen by a *periodic check*. The gang asks it again and again, from the
start of its ranks until the last is gone, while it ends them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nblaunch.events import Event

__all__ = ["PeriodicCheck"]


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
