"""Progress bars of ranks that are drawn over in a terminal, below all other lines: `BarsInPlace`.

::

    [0] epoch 1 done
    [1] epoch 1 done
    [0]  40%|████      | 40/100      ◄ drawn over, until the rank ends the line
    [1]  35%|███▌      | 35/100

Whatever this process writes to its streams meanwhile, in whatever thread, is noticed: the bars are taken away before it
and drawn again below it. They are drawn only while the terminal is this program's: in the background, after ``bg``, it
is the shell's.
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

# Bars that are drawn at a time: of more, one line tells.
_MAX_BARS = 8
# Lines of the terminal that are left to what is printed.
_LEFT = 4
# Seconds without a look at the bars after which the program may have been stopped, and a shell have written below them.
_LONG = 2.0
# Seconds that a program which is about to be stopped waits for a terminal that takes nothing.
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
        # Held by whoever writes. A signal handler may interrupt the thread that holds it, and write too.
        self._lock = threading.RLock()
        # what stands at the end of the terminal now
        self._drawn: list[str] = []
        # whether the cursor is known to be at the beginning of a line
        self._at_beginning = False
        self._looked_at = time.monotonic()
        self._held = False
        # how to put back what was replaced
        self._undo: list[Callable[[], None]] = []

    @classmethod
    def here(cls) -> BarsInPlace | None:
        """Return those of this program's terminal, if all that it prints goes to one whose cursor can be moved."""
        try:
            can = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")
        except (AttributeError, ValueError):  # a stream of the user's own, or one that is closed
            return None
        # what is written to a stream without attributes of its own could not be noticed, and would be drawn over
        if not can or not all(hasattr(stream, "__dict__") for stream in (sys.stdout, sys.stderr)):
            return None
        return cls(sys.stderr, (sys.stdout, sys.stderr))

    def take_away(self) -> None:
        """Leave the cursor where the first bar stood, and nothing below it."""
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
            most = max(1, min(_MAX_BARS, height - _LEFT))
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
        """Take them away and draw none until `go_on`: the program is about to be stopped, and the shell will write."""
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
        """Take them away, and notice nothing any more."""
        with self._lock:
            try:
                self.take_away()
            finally:
                while self._undo:
                    self._undo.pop()()

    def _are_ours(self) -> bool:
        """Tell whether nobody has written below them: not the shell, after the program was stopped."""
        return time.monotonic() - self._looked_at < _LONG and self._in_foreground()

    def _forget(self) -> None:
        self._drawn = []
        self._at_beginning = False

    def _in_foreground(self) -> bool:
        try:
            group = os.tcgetpgrp(self._terminal.fileno())
        except (AttributeError, OSError, ValueError):  # not a terminal that a shell would hand on
            return True
        # 0: a group that cannot be named here, outside of a container
        return group in (0, os.getpgrp())

    def _size(self) -> tuple[int, int]:
        columns, rows = self._own_size() or shutil.get_terminal_size()
        return max(2, columns), max(2, rows)

    def _own_size(self) -> tuple[int, int] | None:
        """Return what the terminal says; it may not know."""
        try:
            columns, rows = os.get_terminal_size(self._terminal.fileno())
        except (AttributeError, OSError, ValueError):
            return None
        return (columns, rows) if columns > 0 and rows > 0 else None

    def _new_line(self) -> str:
        """Return what takes the cursor to the beginning of a line with nothing on it, wherever it is.

        As many blanks as a line is wide go on to the next line, unless they begin at the beginning of one.
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
                return before(text)  # a copy of this process has no thread that would let go of the lock
            with self._lock:
                self.take_away()
                written = before(text)
                # or it would come below bars that are drawn before
                stream.flush()
                if text:
                    self._at_beginning = text.endswith("\n")
                return written

        stream.write = write
        stream.flush()

        def undo() -> None:
            # not if somebody has replaced it once more
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
    """Return the beginning of what a terminal shows of a line, as far as it takes so many columns."""
    shown, taken = [], 0
    for character in visible(last_line(text.encode(errors="replace"), len(text))):
        taken += _width(character)
        if taken > width:
            break
        shown.append(character)
    return "".join(shown)
