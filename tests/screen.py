"""What a terminal shows of what was written to it."""

from __future__ import annotations

import re

__all__ = ["Screen"]


class Screen:
    """A terminal that goes on in the next line where one is full, as all do; it knows what bars are drawn with.

    Parameters
    ----------
    columns : int
        Its width.
    """

    TOKENS = re.compile(r"\x1b\[(\d*)([AJK])|.", re.DOTALL)

    def __init__(self, columns: int) -> None:
        self.columns, self.rows, self.row, self.column = columns, [""], 0, 0

    def take(self, text: str) -> Screen:
        """Take what is written to it."""
        for token in self.TOKENS.finditer(text):
            if token[2] == "A":
                self.row = max(0, self.row - int(token[1]))
            elif token[2]:
                self.rows[self.row] = self.rows[self.row][: self.column]
                if token[2] == "J":
                    del self.rows[self.row + 1 :]
            elif token[0] == "\r":
                self.column = 0
            elif token[0] == "\n":
                self._down()
            else:
                if self.column == self.columns:
                    self._down()
                    self.column = 0
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + token[0] + line[self.column + 1 :]
                self.column += 1
        return self

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")
