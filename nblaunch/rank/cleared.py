"""``clear_output`` for what a rank has printed: marks in its log files, behind which a reader sees nothing of it.

::

    clear_output()            ─► CLEARED in both logs
    clear_output(wait=True)   ─► CLEARED_BY_NEXT in both: whatever is written there next clears what is above it,
                                 also what C code and child processes write
    then a print or a display ─► CLEARED in the other log too, and what was displayed is cleared
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
    text_comes : callable
        Called before something is printed for which `clear` has waited.
    """

    def __init__(self, text_comes: Callable[[], None]) -> None:
        self._text_comes = text_comes
        self._owner = os.getpid()
        self._waits = False
        # the last mark in each, and the size of the file behind it
        self._marked: dict[int, tuple[bytes, int]] = {}
        self._watched: list[Any] = []

    def clear(self, wait: bool) -> None:
        """Clear what has been printed, or have what comes next do it."""
        self._flush()
        self._mark(CLEARED_BY_NEXT if wait else CLEARED)
        self._waits = wait
        if wait:
            self._watch()
        else:
            self._unwatch()

    def clear_if_waiting(self) -> None:
        """Clear what waits for that: something is displayed now."""
        if self._waits:
            self.clear(False)

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            # somebody may have put anything there, or have closed it
            with contextlib.suppress(Exception):
                stream.flush()

    def _mark(self, mark: bytes) -> None:
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or not found.st_size:
                    continue
                # a loop that clears at each step marks only the streams that it writes to
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
            # on the object, so that it costs nothing when nobody waits; one that takes no attributes clears later
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
                    self._text_comes()
                else:  # a fork that prints: the mark is there already
                    self._waits = False
                    self._unwatch()
            return write(text)

        return watched
