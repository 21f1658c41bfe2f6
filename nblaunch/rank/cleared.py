"""``clear_output`` for what a rank has printed: marks in its log files, which hide the text before them.

::

    clear_output()            ─► CLEARED in both logs
    clear_output(wait=True)   ─► CLEARED_BY_NEXT in both: the next text in a log hides what is before the mark,
                                 be it written by Python, C code or a child process
    then a print or a display ─► CLEARED in both logs, and displays are cleared
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

from nblaunch.logs.clearing import CLEARED, CLEARED_BY_NEXT

__all__ = ["ClearedLogs"]


class ClearedLogs:
    """The two log files of this process, as descriptors 1 and 2.

    Parameters
    ----------
    before_text : callable
        Called before the first text that is printed after ``clear(wait=True)``.
    """

    def __init__(self, before_text: Callable[[], None]) -> None:
        self._before_text = before_text
        self._owner = os.getpid()
        self._waits = False
        # by descriptor: the last mark, and the size of the file just after it
        self._marked: dict[int, tuple[bytes, int]] = {}
        self._watched: list[Any] = []

    def clear(self, wait: bool) -> None:
        """Hide what has been printed, or, with `wait`, have the next text or display do so."""
        self._flush()
        self._mark(CLEARED_BY_NEXT if wait else CLEARED)
        self._waits = wait
        if wait:
            self._watch()
        else:
            self._unwatch()

    def clear_if_waiting(self) -> None:
        """Hide now what ``clear(wait=True)`` was to hide; called when something is displayed."""
        if self._waits:
            self.clear(False)

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            # the user may have replaced or closed it
            with contextlib.suppress(Exception):
                stream.flush()

    def _mark(self, mark: bytes) -> None:
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or not found.st_size:
                    continue
                # a loop that clears in each step does not mark a stream to which it writes nothing
                last, size = self._marked.get(descriptor, (b"", -1))
                if size == found.st_size and last in (mark, CLEARED):
                    continue
                os.write(descriptor, mark)
                self._marked[descriptor] = mark, found.st_size + len(mark)

    def _watch(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            write = getattr(stream, "write", None)
            if write is None or any(stream is known for known in self._watched):
                continue
            # A method of this one object, so that prints cost nothing while no clear waits. A stream that takes no
            # attributes is not watched: its text hides only what is before it in its own log.
            with contextlib.suppress(AttributeError, TypeError):
                stream.write = self._watching(write)  # type: ignore[method-assign]
                self._watched.append(stream)

    def _unwatch(self) -> None:
        for stream in self._watched:
            with contextlib.suppress(AttributeError):
                del stream.write
        self._watched.clear()

    def _watching(self, write: Callable[[str], int]) -> Callable[[str], int]:
        def watched(text: str) -> int:
            if text and self._waits:
                if os.getpid() == self._owner:
                    self.clear(False)
                    self._before_text()
                else:  # a forked process, which inherited a mark that is in the log already
                    self._waits = False
                    self._unwatch()
            return write(text)

        return watched
