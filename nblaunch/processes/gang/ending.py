"""`GangEnding`: ends the ranks of a gang, by one signal after the other until none is left."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable

import psutil

from nblaunch.events import Abandoned, Ending, Event, Signalled
from nblaunch.processes.child.cleaners import is_cleaner
from nblaunch.processes.gang.clock import RanksClock
from nblaunch.processes.gang.escalation import Step
from nblaunch.processes.gang.orders import Orders
from nblaunch.processes.gang.watched_rank import WatchedRank

__all__ = ["GangEnding"]

logger: logging.Logger = logging.getLogger(__name__)


class GangEnding:
    """Ends the ranks of a gang and what they have started. In the supervisor's thread only.

    Parameters
    ----------
    running : callable
        Returns the ranks whose processes have not exited.
    tell : callable
        Gets the events.
    clock : RanksClock
        The grace time of a step is counted by it.
    orders : Orders
        Tells whether the ranks were ordered to end.
    resume_helpers : callable
        Called before each step, so that processes that report the exits of ranks go on if they were stopped.
    exited : callable
        Takes the process id and exit code of a rank that does not end although it was killed.

    Attributes
    ----------
    begun : bool
        Whether the ranks are being ended.
    step_ends_at : float or None
        When the next step is due, on `clock`.
    """

    def __init__(
        self,
        running: Callable[[], list[WatchedRank]],
        tell: Callable[[Event], None],
        clock: RanksClock,
        orders: Orders,
        resume_helpers: Callable[[], None],
        exited: Callable[[int, int], None],
    ) -> None:
        self._running = running
        self._tell = tell
        self._clock = clock
        self._orders = orders
        self._resume_helpers = resume_helpers
        self._exited = exited
        self._steps: deque[Step] = deque()
        self.begun: bool = False
        self.step_ends_at: float | None = None

    def begin(self, reason: str, steps: Iterable[Step]) -> None:
        """Take the first step; the steps of a later call replace those of an earlier one."""
        if not self.begun:
            self.begun = True
            for rank in self._running():
                # also a rank that has sent its value: that its process is ended is no failure of its own
                rank.collateral = rank.failed_at is None
            self._tell(Ending(reason, time.monotonic()))
        self._steps = deque(steps)
        self.next_step()

    def next_step(self) -> None:
        """Send the next signal to the ranks that are left, or abandon them if there is no stronger one."""
        if not self._steps:
            for rank in self._running():
                self._abandon(rank)
            return
        step = self._steps.popleft()
        self._resume_helpers()
        _remember_descendants({rank.pid: rank for rank in self._running()})
        # A rank that has failed is ending by itself, and its exit code is to be its own. So nothing but SIGKILL is sent
        # to it, unless somebody has ordered the gang to end.
        chosen = [
            rank
            for rank in self._running()
            if rank.failed_at is None or self._orders.ended or step.signal == signal.SIGKILL
        ]
        if chosen:
            self._tell(Signalled({rank.number: rank.pid for rank in chosen}, step.signal, time.monotonic()))
        for rank in chosen:
            if rank.failed_at is not None and not self._orders.ended:
                rank.lingered = self._clock.now() - rank.failed_at
            rank.signal(step.signal)
        self.step_ends_at = self._clock.now() + step.grace

    def _abandon(self, rank: WatchedRank) -> None:
        logger.error(
            "rank %d (pid %d) did not go after SIGKILL: it hangs in the kernel and is left alone",
            rank.number,
            rank.pid,
        )
        self._tell(Abandoned(rank.number, rank.pid, time.monotonic()))
        self._exited(rank.pid, -signal.SIGKILL)


def _remember_descendants(ranks: dict[int, WatchedRank]) -> None:
    """Note the descendants of each rank: they cannot be found any more when the rank is gone.

    Parameters
    ----------
    ranks : dict of int to WatchedRank
        The ranks by process id.
    """
    parents: dict[int, int] = {}
    processes: dict[int, psutil.Process] = {}
    # OSError: no descriptors are left, which may be why the gang is ended
    with contextlib.suppress(psutil.Error, OSError):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError):
                parents[process.pid] = process.ppid()
                if not is_cleaner(process):
                    processes[process.pid] = process
    for pid, process in processes.items():
        above = parents[pid]
        while above not in ranks and above in parents:
            above = parents[above]
        if above in ranks:
            ranks[above].descendants.append(process)
