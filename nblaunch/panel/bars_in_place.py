"""Progress bars of ranks that are drawn over in a terminal, below all other lines: `BarsInPlace`.

::

    [0] epoch 1 done
    [1] epoch 1 done
    [0]  40%|████      | 40/100      ◄ drawn over, until the rank ends the line
    [1]  35%|███▌      | 35/100
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from nblaunch.panel.terminal import last_line, visible

__all__ = ["BarsInPlace"]

# Bars that are drawn at a time: of more, one line tells.
_MOST = 8
# Lines of the terminal that are left to what is printed.
_LEFT = 4


class BarsInPlace:
    """The bars at the end of a terminal. Who prints something else there takes them away before, and draws them after.

    Parameters
    ----------
    terminal : text stream
        Where they are drawn.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        # what stands at the end of the terminal now
        self._drawn: list[str] = []

    @classmethod
    def here(cls) -> BarsInPlace | None:
        """Return those of this program's terminal, if all that it prints goes to one whose cursor can be moved."""
        try:
            can = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")
        except (AttributeError, ValueError):  # a stream of the user's own, or one that is closed
            return None
        return cls(sys.stderr) if can else None

    def take_away(self) -> None:
        """Leave the cursor where the first bar stood, and nothing below it."""
        if not self._drawn:
            return
        # a terminal that has become narrower has wrapped them
        width = _size()[0]
        rows = sum(max(1, -(-_columns(line) // width)) for line in self._drawn)
        self._drawn = []
        self._terminal.write(f"\x1b[{rows}A\r\x1b[J")
        self._terminal.flush()

    def forget(self) -> None:
        """Leave them where they are: somebody else writes below them from now on."""
        self._drawn = []

    def draw(self, bars: Sequence[str]) -> None:
        """Draw bars below what is printed, in place of those that are there; each is cut to one line."""
        width, height = _size()
        most = max(1, min(_MOST, height - _LEFT))
        lines = [_cut(bar, width - 1) for bar in bars[:most]]
        if len(bars) > most:
            lines[-1:] = [_cut(f"… and the bars of {len(bars) - most + 1} more", width - 1)]
        if lines == self._drawn:
            return
        self.take_away()
        self._terminal.write("".join(f"{line}\n" for line in lines))
        self._terminal.flush()
        self._drawn = lines


def _size() -> tuple[int, int]:
    columns, rows = shutil.get_terminal_size()
    return max(2, columns), max(2, rows)


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
