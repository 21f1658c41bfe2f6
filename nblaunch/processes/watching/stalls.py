"""Which ranks do nothing: those that neither compute nor write, and those that others have left behind.

A periodic check that only tells. What a rank has started counts as the rank: one that waits for its own workers is at
work.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nblaunch.events import Asked, Event, Exited, Finished, QuestionWithdrawn, Raised, Stalled, Started, Straggling
from nblaunch.logs.files import size_of
from nblaunch.processes.watching.sampling import cpu_seconds, family

__all__ = ["StallWatch"]

# Part of one core below which a rank counts as waiting: libraries have threads that look around now and then.
_IDLE = 0.005
_MAX_PERIOD_SECONDS = 5.0
# Looks within the shorter of the two times.
_LOOKS = 8


@dataclass
class _Watched:
    """What was seen of a rank that is at work."""

    pid: int
    active_at: float
    seen_at: float
    seconds: float = 0.0
    written: int = 0


class StallWatch:
    """Looks for ranks that do nothing; see `nblaunch.processes.watching.periodic_checks.PeriodicCheck`.

    Feed it the gang's events with `note`.

    Parameters
    ----------
    logs : mapping of int to sequence of str
        The log files of each rank.
    stall : float
        Seconds without computing or writing after which a rank is told of; 0 is never.
    straggler : float
        Seconds after which the ranks are told of that are still at work when others have finished; 0 is never.
    """

    def __init__(self, logs: Mapping[int, Sequence[str]], stall: float, straggler: float) -> None:
        self._logs = logs
        self._stall = stall
        self._straggler = straggler
        times = [seconds for seconds in (stall, straggler) if seconds > 0]
        self.period: float = min(_MAX_PERIOD_SECONDS, min(times, default=_MAX_PERIOD_SECONDS) / _LOOKS)
        self._working: dict[int, _Watched] = {}
        self._finished_at: float | None = None
        self._stalled: tuple[int, ...] = ()
        # questions of ranks that wait for a person: rank and number
        self._asking: set[tuple[int, int]] = set()

    def note(self, event: Event) -> None:
        """Take an event of the gang."""
        if isinstance(event, Started):
            self._working[event.rank] = _Watched(event.pid, event.at, event.at)
        elif isinstance(event, Finished):
            if self._working.pop(event.rank, None) is not None:
                self._finished_at = time.monotonic()
        elif isinstance(event, Exited) or (isinstance(event, Raised) and not event.held):
            self._working.pop(event.rank, None)
        elif isinstance(event, Asked):
            self._asking.add((event.rank, event.number))
        elif isinstance(event, QuestionWithdrawn):
            self._asking.discard((event.rank, event.number))

    def answered(self, rank: int, number: int) -> None:
        """Take note that a rank has been told what it asked."""
        self._asking.discard((rank, number))

    def stopped_for(self, seconds: float) -> None:
        """Take note that the ranks were stopped, with the program, for so long until now."""
        for watched in self._working.values():
            watched.active_at += seconds
            watched.seen_at += seconds
        if self._finished_at is not None:
            self._finished_at += seconds

    def look(self, now: float) -> Iterable[Event]:
        """Tell which ranks have begun, or ceased, to do nothing."""
        if self._straggler and self._finished_at is not None and now - self._finished_at >= self._straggler:
            if self._working:
                yield Straggling(tuple(sorted(self._working)), now - self._finished_at, now)
            self._finished_at = None  # said once, until the next one finishes
        if self._stall:
            for rank, watched in self._working.items():
                self._look_at(rank, watched, now)
            idle = {rank: now - watched.active_at for rank, watched in self._working.items()}
            stalled = tuple(sorted(rank for rank, seconds in idle.items() if seconds >= self._stall))
            if stalled != self._stalled:
                self._stalled = stalled
                yield Stalled(stalled, min((idle[rank] for rank in stalled), default=0.0), now)

    def _look_at(self, rank: int, watched: _Watched, now: float) -> None:
        seconds = sum(map(cpu_seconds, family(watched.pid)))
        written = sum(map(size_of, self._logs.get(rank, ())))
        # less than before: a child has ended, and has been waited for by somebody else
        computed = abs(seconds - watched.seconds) > _IDLE * (now - watched.seen_at)
        if computed or written != watched.written or any(asking == rank for asking, _ in self._asking):
            watched.active_at = now
        watched.seconds, watched.written, watched.seen_at = seconds, written, now
