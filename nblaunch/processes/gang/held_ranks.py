"""`HeldRanks`: the ranks of a gang are stopped and set going again with the program, as by Ctrl-Z and ``fg``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from signal import SIGCONT, SIGSTOP

from nblaunch.processes.gang.clock import RanksClock
from nblaunch.processes.gang.watched_rank import WatchedRank

__all__ = ["HeldRanks"]


class HeldRanks:
    """Stops the ranks and their clock. In the supervisor's thread only.

    Parameters
    ----------
    running : callable
        Returns the ranks whose processes have not exited.
    clock : RanksClock
        Stands still while the ranks are stopped.
    went_on : sequence of callable
        Each is called with the seconds for which the ranks were stopped, when they go on.
    """

    def __init__(
        self,
        running: Callable[[], list[WatchedRank]],
        clock: RanksClock,
        went_on: Sequence[Callable[[float], None]],
    ) -> None:
        self._running = running
        self._clock = clock
        self._went_on = went_on
        self._stopped: list[WatchedRank] = []

    def stop(self, at: float) -> None:
        """Stop the ranks; their clock stands still from ``time.monotonic() == at`` on."""
        if self._clock.stands_still:
            return
        self._clock.stop(at)
        self._stopped = self._running()
        for rank in self._stopped:
            rank.signal_group(SIGSTOP)

    def go_on(self, at: float) -> None:
        """Set the ranks going again that were stopped; their clock goes on at ``time.monotonic() == at``."""
        if not self._clock.stands_still:
            return
        seconds = self._clock.go_on(at)
        for rank in self._stopped:
            if not rank.gone:
                rank.signal_group(SIGCONT)
        self._stopped = []
        for take_note in self._went_on:
            take_note(seconds)
