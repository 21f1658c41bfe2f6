"""`note_write_order`: notes on the order of a rank's writes to stdout and stderr, and on lines that belong together.

Standard output and standard error are two files, and nothing in them tells which of two lines was written first: a
progress bar on stderr, or the line of the ``print`` after it. So whenever Python code changes from one stream to the
other, the sizes of both files are noted in a third file beside them. If one `write` has several lines, such as those of
a data frame, their offsets are noted too. Code that writes single lines to one stream makes no notes.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO, cast

from nblaunch.logs.files import add_note, order_path, pack_block, pack_order

__all__ = ["note_write_order"]

# Notes for one task. After these, readers know the order only as exactly as they see the files grow.
_MAX_NOTES = 100_000
# Of these, notes on lines that belong together, which only records of short logs use.
_MAX_BLOCK_NOTES = 1_000


def note_write_order(stdout: str, stderr: str) -> None:
    """Note from now on the order of writes to `sys.stdout` and `sys.stderr`, and which lines are written at once.

    `stdout` and `stderr` are the log files that the streams write to. If one is empty, nothing is done, nor if they are
    in different folders.
    """
    if not stdout or not stderr or os.path.dirname(stdout) != os.path.dirname(stderr):
        return
    notes = _Notes(order_path(stdout))
    if isinstance(sys.stdout, _Stream) and isinstance(sys.stderr, _Stream):
        # these are streams of an earlier task of this process, which had other files
        sys.stdout.notes = sys.stderr.notes = notes
        return
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = cast(io.TextIOWrapper, getattr(sys, name))
        stream.flush()
        noted = _Stream(stream, descriptor, notes)
        noted.mode = "w"  # type: ignore[misc]  # as `open` sets it
        setattr(sys, name, cast(TextIO, noted))
        setattr(sys, f"__{name}__", noted)


class _Notes:
    """The file with the notes, and the descriptor that was written to last."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._last = 0
        self._left = _MAX_NOTES
        self._blocks_left = _MAX_BLOCK_NOTES

    def begin(self, descriptor: int) -> None:
        """Note the sizes of both files, if the stream before was the other one; called before a write."""
        last, self._last = self._last, descriptor
        if last not in (0, descriptor) and self._left > 0:
            # the cell may have closed the descriptors
            with suppress(OSError):
                self._add(pack_order(os.fstat(1).st_size, os.fstat(2).st_size))

    def begin_block(self, descriptor: int) -> int | None:
        """Return the offset where a write of several lines begins; None if it is not to be noted."""
        if min(self._left, self._blocks_left) <= 0:
            return None
        try:
            return os.fstat(descriptor).st_size
        except OSError:
            return None

    def end_block(self, descriptor: int, start: int) -> None:
        """Note the offsets of the lines that have been written."""
        self._blocks_left -= 1
        with suppress(OSError):
            self._add(pack_block(descriptor, start, os.fstat(descriptor).st_size))

    def _add(self, note: bytes) -> None:
        self._left -= 1
        # a full disk: later notes are right all the same, unless a part of this one was written
        with suppress(OSError):
            if not add_note(self._path, note):
                self._left = 0


class _Stream(io.TextIOWrapper):
    """Standard output or standard error, with notes.

    Writes of text are noted, not writes of bytes in a raw file below it. An interrupt in a raw file that is written in
    Python would have the buffer write the same bytes twice.
    """

    def __init__(self, stream: io.TextIOWrapper, descriptor: int, notes: _Notes) -> None:
        buffer = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
        super().__init__(buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
        self._descriptor = descriptor
        self.notes = notes

    def write(self, text: str, /) -> int:
        """Write the text, and note what is to be noted before and after it."""
        self.notes.begin(self._descriptor)
        start = self.notes.begin_block(self._descriptor) if _is_several_lines(text) else None
        count = super().write(text)
        if start is not None:
            self.notes.end_block(self._descriptor, start)
        return count


def _is_several_lines(text: object) -> bool:
    # if it is no text, the write itself raises
    return isinstance(text, str) and text.find("\n", 0, -1) >= 0
