"""`LogLines`: the lines of one log that are printed, within bounds, and the progress bar at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from nblaunch.logs.files import from_its_middle, is_within_line
from nblaunch.logs.following import LogFollower
from nblaunch.wording import in_words

__all__ = ["LogLines"]

# Seconds between two states of a progress bar that are printed: a notebook cannot draw one over the other.
_PROGRESS_PERIOD = 1.0
# Lines and bytes at the end of a log that are printed although its middle was not.
_LAST_LINES = 10
_MAX_LAST_BYTES = 4_000


@dataclass
class LogLines:
    """The lines of one log that are printed.

    Parameters
    ----------
    prefix : str
        What stands before each line.
    follower : LogFollower
        Reads the log.
    to_stderr : bool
        Whether the lines are to be printed to standard error.
    left : int
        Bytes that may still be printed; of a longer log the last lines are.
    in_place : bool
        Whether the progress bar at its end is drawn in place, see `bar`, and so is not printed.
    """

    prefix: str
    follower: LogFollower
    to_stderr: bool
    left: int
    in_place: bool = False
    progress: str = ""
    progress_at: float = 0.0

    def read(self, limit: int) -> list[str]:
        """Return new lines, or once a second the present state of a progress bar."""
        if self.left <= 0:
            return []
        before = self.follower.offset
        try:
            lines = self.follower.read(limit=min(limit, self.left))
        except OSError:
            self.left = 0  # the other logs are printed all the same
            return []
        now = time.monotonic()
        redrawn = self.follower.offset > before and not lines and self.follower.overwritten
        if redrawn and not self.in_place and now - self.progress_at > _PROGRESS_PERIOD:
            self.progress_at = now
            self.progress = self.follower.unfinished
            lines = [self.progress]
        printed = sum(len(self.prefix) + len(line) + 1 for line in lines)
        # of a progress bar much is read and little is printed; of everything else all that is read will be printed
        self.left -= printed if self.follower.overwritten else max(printed, min(limit, self.follower.offset - before))
        return lines

    def bar(self) -> str:
        """Return the progress bar at the end of the log; empty if there is none, or it is not drawn in place."""
        shown = self.in_place and self.left > 0 and self.follower.overwritten
        unfinished = self.follower.unfinished if shown else ""
        return f"{self.prefix}{unfinished}" if unfinished.strip() else ""

    def rest(self) -> list[str]:
        """Return the last line if it was never ended, once all has been read."""
        lines = self.follower.read(final=True) if self.follower.unread() == 0 else []
        return [line for line in lines if line != self.progress]

    def left_out(self) -> list[str]:
        """Say how much of the log was not printed, and return its last lines; empty if all was printed."""
        log, unread = self.follower.log, self.follower.unread()
        try:
            # asked even if nothing seems unread, because it raises if the log is gone
            released = log.held_from(self.follower.offset) - self.follower.offset if log.size() else 0
            if not unread:
                return []
            kept = f"the last {in_words(unread - released)}" if released else "all"
            return [f"… {in_words(unread)} more, {kept} of it in {log.path}, ending with", *self._last_lines()]
        except OSError as error:
            return [f"… the rest cannot be read any more: {error}"]

    def _last_lines(self) -> list[str]:
        log = self.follower.log
        size = log.size()
        start = log.held_from(max(self.follower.offset, size - _MAX_LAST_BYTES))
        data = log.read(start, size - start)
        if is_within_line(log, start):
            data = from_its_middle(data)
        return data.decode(errors="replace").splitlines()[-_LAST_LINES:]
