"""In which order a rank writes to its two streams: `note_write_order`.

Standard output and standard error are two files, and nothing in them says which of two lines came first: a bar of tqdm
on stderr, or the ``print`` behind it. So each time that Python code changes from one stream to the other, the sizes of
both files are noted in a third one beside them. Who writes to one stream only writes no note.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO, cast

from nblaunch.log_files import order_path, pack_order

__all__ = ["note_write_order"]

# Notes that are written at most: with more, the order is as exact as whoever follows the files looks.
_MOST = 100_000


def note_write_order(stdout: str, stderr: str) -> None:
    """Note from now on in which order `sys.stdout` and `sys.stderr` are written to.

    Parameters
    ----------
    stdout, stderr : str
        The files behind them; nothing is done where one of them has none.
    """
    if not stdout or not stderr or os.path.dirname(stdout) != os.path.dirname(stderr):
        return
    notes = _Notes(order_path(stdout))
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
        self._count = 0

    def begin(self, descriptor: int) -> None:
        """Take note that a stream is written to now."""
        last, self._last = self._last, descriptor
        if last in (0, descriptor) or self._count >= _MOST:
            return
        self._count += 1
        # a full disk, or descriptors that were closed: the order is then as exact as the files are followed
        with suppress(OSError):
            note = pack_order(os.fstat(1).st_size, os.fstat(2).st_size)
            # opened each time: a descriptor that is kept may be closed by the cell, and be something else by now
            notes = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(notes, note)
            finally:
                os.close(notes)


class _Stream(io.TextIOWrapper):
    """Standard output or standard error.

    It is the text that is noted, and not the bytes below it: were a raw file written in Python, an interrupt in there
    would have the buffer write the same bytes twice.
    """

    def __init__(self, stream: io.TextIOWrapper, descriptor: int, notes: _Notes) -> None:
        buffer = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
        super().__init__(buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
        self._descriptor = descriptor
        self._notes = notes

    def write(self, text: str, /) -> int:
        """Write it, behind what was noted."""
        self._notes.begin(self._descriptor)
        return super().write(text)
