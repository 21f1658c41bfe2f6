"""What a gang knows of one of its ranks, and how it is signalled."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, field
from signal import SIGCONT, SIGKILL, Signals

import psutil

from nblaunch.events import LastWord
from nblaunch.processes.gang.inbox import Inbox

__all__ = ["WatchedRank"]

logger: logging.Logger = logging.getLogger(__name__)


@dataclass
class WatchedRank:
    """One rank of a gang.

    Attributes
    ----------
    inbox : Inbox or None
        Receives its messages; None for a program, and when the connection is closed.
    busy : bool
        Whether it has not reported the end of its task yet.
    reported : LastWord or None
        How its task has ended, once it has reported that.
    collateral : bool
        Whether the gang has ended it before it failed by itself.
    stacks : str
        The file for the stacks of its threads; empty for none.
    gone : bool
        Whether its process has exited, or is abandoned.
    reaped : bool
        Whether its process was reaped, so that its process id may belong to another one.
    killed : bool
        Whether the gang has sent it SIGKILL.
    broke : str
        What was wrong with the bytes that it sent; empty if nothing was.
    failed_at : float or None
        When it reported its failure, or its value was refused, on the ranks' clock.
    lingered : float
        Seconds from its failure until it was killed, if it had not exited by itself.
    descendants : list of psutil.Process
        What it has started, to be ended when the rank is gone.
    """

    number: int
    pid: int
    inbox: Inbox | None
    stacks: str = ""
    busy: bool = True
    reported: LastWord | None = None
    collateral: bool = False
    gone: bool = False
    reaped: bool = False
    killed: bool = False
    broke: str = ""
    failed_at: float | None = None
    lingered: float = 0.0
    descendants: list[psutil.Process] = field(default_factory=list)

    def begin_task(self) -> None:
        """Take note that the rank was given a task."""
        self.busy, self.reported, self.failed_at = True, None, None

    def note_last_word(self, word: LastWord) -> None:
        """Take note that the rank has told what came of its task."""
        self.busy, self.reported = False, word

    def signal(self, number: Signals) -> None:
        """Send a signal to the process group; processes that were stopped go on, so that they get it at once."""
        self.killed = self.killed or number == SIGKILL
        # a stopped process gets no other signals than SIGKILL and SIGCONT
        self.signal_group(number, *([] if number == SIGKILL else [SIGCONT]))

    def signal_group(self, *numbers: Signals) -> None:
        """Send signals to the process group; if the process leads no group, send only the first one, to it alone."""
        try:
            for number in numbers:
                os.killpg(self.pid, number)
        except ProcessLookupError:
            # the process does not lead a group yet, or is being reaped
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, numbers[0])
        except PermissionError:
            logger.warning("rank %d (pid %d) may not be signalled", self.number, self.pid)

    def signal_alone(self, number: int) -> None:
        """Send a signal to the process, and not to what it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)

    def end_descendants(self) -> None:
        """Kill what the rank has left behind."""
        for process in self.descendants:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil compares creation times, so a reused number is not hit
        self.descendants.clear()
