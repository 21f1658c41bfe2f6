"""`RankStacks`: the ranks of a gang are asked where they are, by other threads or because something has happened."""

from __future__ import annotations

import time
from collections.abc import Callable

from nblaunch.events import Event, Stack, StacksTaken
from nblaunch.processes.gang.watched_rank import WatchedRank
from nblaunch.processes.watching.stack_requests import StackRequests

__all__ = ["RankStacks"]


class RankStacks(StackRequests):
    """What a gang has asked its ranks and has no answers to yet. In the supervisor's thread only.

    Parameters
    ----------
    running : callable
        Returns the ranks whose processes have not exited.
    tell : callable
        Gets the events.
    """

    def __init__(self, running: Callable[[], list[WatchedRank]], tell: Callable[[Event], None]) -> None:
        super().__init__()
        self._running = running
        self._tell = tell

    def take(self, reason: str, ranks: frozenset[int] | None = None) -> None:
        """Tell in an event where ranks are, by default all; the gang does not end before they have answered."""
        at = time.monotonic()

        def tell(stacks: dict[int, Stack]) -> None:
            if stacks:
                self._tell(StacksTaken(stacks, reason, at))

        if any(rank.stacks for rank in self._running()):
            self.ask_busy(ranks, tell, ending_waits=True)

    def ask_busy(
        self, ranks: frozenset[int] | None, give: Callable[[dict[int, Stack]], None], ending_waits: bool = False
    ) -> None:
        """Ask ranks, by default all, that have not reported the end of their task; `give` gets their stacks."""
        self.ask(
            {
                rank.number: (rank.pid, rank.stacks)
                for rank in self._running()
                if rank.busy and (ranks is None or rank.number in ranks)
            },
            give,
            ending_waits,
        )
