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
        Where its messages come; None for a program, and when it has hung up.
    busy : bool
        Whether it has not had its last word on its task.
    reported : LastWord or None
        Its last word, if it had one.
    collateral : bool
        Whether the gang has ended it before it failed by itself.
    stacks : str
        The file for the stacks of its threads; empty for none.
    gone, reaped, killed : bool
        Whether its process has exited, was reaped, or was sent SIGKILL by the gang.
    broke : str
        What was wrong with the bytes that it sent; empty if nothing was.
    failed_at : float or None
        When it told that it had failed by itself, or was found to have, on the ranks' clock.
    lingered : float
        Seconds that it went on after that until it was killed.
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
        """Forget what came of the task before."""
        self.busy, self.reported, self.failed_at = True, None, None

    def note_last_word(self, word: LastWord) -> None:
        """Take note that the rank has told what came of its task."""
        self.busy, self.reported = False, word

    def signal(self, number: Signals) -> None:
        """Signal the process group, and have it heard at once."""
        self.killed = self.killed or number == SIGKILL
        # a stopped process takes no other signal than these two
        self.signal_group(number, *([] if number == SIGKILL else [SIGCONT]))

    def signal_group(self, *numbers: Signals) -> None:
        """Send signals to the process group; only the first, to the process alone, if that leads no group."""
        try:
            for number in numbers:
                os.killpg(self.pid, number)
        except ProcessLookupError:
            # it has not become the leader of a group yet, or is just being reaped
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
