"""`Policy`: what ends the ranks of a task before they are done: the failure of one of them, or a timeout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nblaunch.events import Exited, LastWord

__all__ = ["Policy"]

# Seconds that ranks have at least to start, whatever timeout their task has.
_MIN_SECONDS_TO_START = 10.0


def _returned_a_value(exit_: Exited) -> bool:
    return exit_.reported == LastWord.VALUE and exit_.exitcode == 0


@dataclass
class Policy:
    """The policy of one task, and what has happened so far; all times are those of the ranks' clock.

    Parameters
    ----------
    succeeded : callable
        Takes an exit, and tells whether the rank has succeeded; by default, if it reported a value and exited with 0.
    stop_on_failure : bool
        Whether the first failure ends the other ranks.
    settle : float
        Seconds between the first failure and the end of the others, so that ranks that fail for the same reason at
        about the same time are seen as failures rather than as victims.
    grace : float
        Seconds between SIGTERM and SIGKILL.
    timeout : float, optional
        Seconds after which the ranks are ended.

    Attributes
    ----------
    failed_at : float or None
        When the first rank failed.
    timed_out : bool
        Whether the time is over.
    """

    succeeded: Callable[[Exited], bool] = _returned_a_value
    stop_on_failure: bool = True
    settle: float = 0.2
    grace: float = 30.0
    timeout: float | None = None
    failed_at: float | None = field(default=None, init=False)
    timed_out: bool = field(default=False, init=False)
    _began: float | None = field(default=None, init=False)

    @property
    def seconds_to_start(self) -> float | None:
        """How long all ranks together may take to start; None is without a limit."""
        # even a task with a timeout of a second may have to wait for imports before
        return None if self.timeout is None else max(_MIN_SECONDS_TO_START, self.timeout)

    def begin(self, now: float) -> None:
        """Take note that all ranks have started."""
        self._began = now

    def note_failure(self, now: float) -> bool:
        """Take note that a rank has failed; tell whether it is the first one."""
        if self.failed_at is not None:
            return False
        self.failed_at = now
        return True

    @property
    def failure_ends_at(self) -> float | None:
        """When the ranks are to be ended because one has failed; None is never."""
        return self.failed_at + self.settle if self.stop_on_failure and self.failed_at is not None else None

    @property
    def time_ends_at(self) -> float | None:
        """When the ranks are to be ended because the time is over; None is never."""
        return self._began + self.timeout if self.timeout is not None and self._began is not None else None
