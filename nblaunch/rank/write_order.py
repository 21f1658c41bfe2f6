"""In which order a rank writes to its two streams, and what it writes at once: `note_write_order`.

Standard output and standard error are two files, and nothing in them says which of two lines came first: a bar of tqdm
on stderr, or the ``print`` behind it. So each time that Python code changes from one stream to the other, the sizes of
both files are noted in a third one beside them. Nor do files say which lines belong together, such as those of a data
frame: several lines that come in one `write` are noted there too. Who writes single lines to one stream only writes no
note.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO, cast

from nblaunch.logs.files import add_note, order_path, pack_block, pack_order

__all__ = ["note_write_order"]

# Notes that are written at most: with more, the order is as exact as whoever follows the files looks.
_MAX_NOTES = 100_000
# Of those on lines that belong together: the record looks at them only where a rank has written little.
_MAX_BLOCK_NOTES = 1_000


def note_write_order(stdout: str, stderr: str) -> None:
    """Note from now on in which order `sys.stdout` and `sys.stderr` are written to, and which lines come at once.

    Parameters
    ----------
    stdout, stderr : str
        The files behind them; nothing is done where one of them has none.
    """
    if not stdout or not stderr or os.path.dirname(stdout) != os.path.dirname(stderr):
        return
    notes = _Notes(order_path(stdout))
    if isinstance(sys.stdout, _Stream) and isinstance(sys.stderr, _Stream):
        # of the task before, whose files these streams wrote to
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
    """The file with the notes, and who wrote last."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._last = 0
        self._left = _MAX_NOTES
        self._blocks_left = _MAX_BLOCK_NOTES

    def begin(self, descriptor: int) -> None:
        """Take note that a stream is written to now."""
        last, self._last = self._last, descriptor
        if last not in (0, descriptor) and self._left > 0:
            # descriptors that were closed
            with suppress(OSError):
                self._add(pack_order(os.fstat(1).st_size, os.fstat(2).st_size))

    def begin_block(self, descriptor: int) -> int | None:
        """Return where several lines begin that are about to be written at once; None if that will not be noted."""
        if min(self._left, self._blocks_left) <= 0:
            return None
        try:
            return os.fstat(descriptor).st_size
        except OSError:
            return None

    def end_block(self, descriptor: int, start: int) -> None:
        """Take note that they are written."""
        self._blocks_left -= 1
        with suppress(OSError):
            self._add(pack_block(descriptor, start, os.fstat(descriptor).st_size))

    def _add(self, note: bytes) -> None:
        self._left -= 1
        # a full disk: what can be noted later is right all the same, unless a part of this note is there
        with suppress(OSError):
            if not add_note(self._path, note):
                self._left = 0


class _Stream(io.TextIOWrapper):
    """Standard output or standard error.

    It is the text that is noted, and not the bytes below it: were a raw file written in Python, an interrupt in there
    would have the buffer write the same bytes twice.
    """

    def __init__(self, stream: io.TextIOWrapper, descriptor: int, notes: _Notes) -> None:
        buffer = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
        super().__init__(buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
        self._descriptor = descriptor
        self.notes = notes

    def write(self, text: str, /) -> int:
        """Write it, behind what was noted."""
        self.notes.begin(self._descriptor)
        start = self.notes.begin_block(self._descriptor) if _is_several_lines(text) else None
        count = super().write(text)
        if start is not None:
            self.notes.end_block(self._descriptor, start)
        return count


def _is_several_lines(text: object) -> bool:
    # the user's mistake is the stream's to tell
    return isinstance(text, str) and text.find("\n", 0, -1) >= 0
