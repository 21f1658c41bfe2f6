"""Progress bars of ranks that are drawn over in a terminal, below all other lines: `BarsInPlace`.

::

    [0] epoch 1 done
    [1] epoch 1 done
    [0]  40%|████      | 40/100      ◄ drawn over, until the rank ends the line
    [1]  35%|███▌      | 35/100

When any thread of this process writes to its streams, the bars are removed before, and drawn again below what was
written. They are drawn only while the program is in the foreground of the terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from nblaunch.panel.terminal import last_line, visible

__all__ = ["BarsInPlace"]

# Bars that are drawn at a time; one line tells of the others.
_MAX_BARS = 8
# Lines of the terminal above the bars.
_MIN_LINES_ABOVE = 4
# Seconds without `draw` after which the program may have been stopped, and a shell may have written below the bars.
_STOPPED_AFTER = 2.0
# Seconds that `hold` waits for a thread that writes to the terminal.
_PATIENCE = 1.0


class BarsInPlace:
    """The bars at the end of a terminal.

    Parameters
    ----------
    terminal : text stream
        Where they are drawn.
    streams : sequence of text streams
        What else may be written to. Their `write` is replaced from the first drawing until `close`.
    """

    def __init__(self, terminal: TextIO, streams: Sequence[TextIO] = ()) -> None:
        self._terminal = terminal
        self._streams = streams
        self._put = terminal.write
        # Held while a thread writes; reentrant, because a signal handler may interrupt that thread and write too.
        self._lock = threading.RLock()
        # the lines that are drawn at the end of the terminal now
        self._drawn: list[str] = []
        # whether the cursor is known to be at the beginning of a line
        self._at_beginning = False
        self._looked_at = time.monotonic()
        self._held = False
        # how to put back what was replaced
        self._undo: list[Callable[[], None]] = []

    @classmethod
    def here(cls) -> BarsInPlace | None:
        """Return the bars of this program's terminal; None if its output does not go to one, or to a dumb one."""
        try:
            can = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")
        except (AttributeError, ValueError):  # a stream of the user's own, or one that is closed
            return None
        # writes to a stream whose `write` cannot be replaced would go unnoticed
        if not can or not all(hasattr(stream, "__dict__") for stream in (sys.stdout, sys.stderr)):
            return None
        return cls(sys.stderr, (sys.stdout, sys.stderr))

    def take_away(self) -> None:
        """Remove the bars; the cursor is then where the first one began."""
        with self._lock:
            if not self._drawn:
                return
            if not self._are_ours():
                self._forget()
                return
            # a terminal that has become narrower has wrapped them
            width = self._size()[0]
            rows = sum(max(1, -(-_columns(line) // width)) for line in self._drawn)
            self._drawn = []
            self._at_beginning = True
            self._put(f"\x1b[{rows}A\r\x1b[J")
            self._terminal.flush()

    def draw(self, bars: Sequence[str]) -> None:
        """Draw bars below what is printed, in place of those that are there; each is cut to one line."""
        with self._lock:
            if self._held:
                return
            if not self._are_ours():
                self._forget()
            self._looked_at = time.monotonic()
            if not self._in_foreground():
                return
            width, height = self._size()
            most = max(1, min(_MAX_BARS, height - _MIN_LINES_ABOVE))
            lines = [_cut(bar, width - 1) for bar in bars[:most]]
            if len(bars) > most:
                lines[-1:] = [_cut(f"… and the bars of {len(bars) - most + 1} more", width - 1)]
            if lines == self._drawn:
                return
            self.take_away()
            if lines:
                self._notice_writes()
                begin = "" if self._at_beginning else self._new_line()
                self._put(begin + "".join(f"{line}\n" for line in lines))
                self._terminal.flush()
                self._drawn = lines

    def hold(self) -> None:
        """Remove the bars, and draw none until `go_on`: the program will be stopped, and the shell will write."""
        self._held = True
        if self._lock.acquire(timeout=_PATIENCE):
            try:
                self.take_away()
            finally:
                self._lock.release()

    def go_on(self) -> None:
        """Draw again, below whatever the shell has written."""
        self._forget()
        self._held = False

    def close(self) -> None:
        """Remove the bars, and put the streams' own `write` back."""
        with self._lock:
            try:
                self.take_away()
            finally:
                while self._undo:
                    self._undo.pop()()

    def _are_ours(self) -> bool:
        """Tell whether the bars are still the last lines: a shell may have written if the program was stopped."""
        return time.monotonic() - self._looked_at < _STOPPED_AFTER and self._in_foreground()

    def _forget(self) -> None:
        self._drawn = []
        self._at_beginning = False

    def _in_foreground(self) -> bool:
        try:
            group = os.tcgetpgrp(self._terminal.fileno())
        except (AttributeError, OSError, ValueError):  # no terminal with a foreground process group
            return True
        # 0: the group is outside of this container
        return group in (0, os.getpgrp())

    def _size(self) -> tuple[int, int]:
        columns, rows = self._own_size() or shutil.get_terminal_size()
        return max(2, columns), max(2, rows)

    def _own_size(self) -> tuple[int, int] | None:
        """Return columns and rows as the terminal says; None if it does not know."""
        try:
            columns, rows = os.get_terminal_size(self._terminal.fileno())
        except (AttributeError, OSError, ValueError):
            return None
        return (columns, rows) if columns > 0 and rows > 0 else None

    def _new_line(self) -> str:
        """Return characters that move the cursor to the beginning of an empty line, wherever it is.

        As many blanks as a line is wide reach into the next line, unless they begin at the beginning of a line.
        """
        size = self._own_size()
        return "\n" if size is None else f"{' ' * size[0]}\r\x1b[K"

    def _notice_writes(self) -> None:
        if not self._undo:
            for stream in dict.fromkeys(self._streams):
                self._undo.append(self._notice_writes_to(stream))

    def _notice_writes_to(self, stream: Any) -> Callable[[], None]:
        process, before, own = os.getpid(), stream.write, vars(stream).get("write")

        def write(text: str, /) -> Any:
            if os.getpid() != process:
                return before(text)  # in a forked process no thread may be left that releases the lock
            with self._lock:
                self.take_away()
                written = before(text)
                # flushed, or the text would come below the bars that are drawn next
                stream.flush()
                if text:
                    self._at_beginning = text.endswith("\n")
                return written

        stream.write = write
        stream.flush()

        def undo() -> None:
            # not if `write` was replaced once more since
            if vars(stream).get("write") is write:
                if own is None:
                    del stream.write
                else:
                    stream.write = own

        return undo


def _columns(text: str) -> int:
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, width: int) -> str:
    """Return the beginning of what a terminal shows of a line, up to `width` columns."""
    shown, taken = [], 0
    for character in visible(last_line(text.encode(errors="replace"), len(text))):
        taken += _width(character)
        if taken > width:
            break
        shown.append(character)
    return "".join(shown)
