"""Log files of this machine: opening and reading them, and the notes that ranks write beside them.

Of a log that grows too long the oldest part is *released*: the file has a hole there, which takes no room on the disk
and reads as zeros. All offsets stay as they are. Readers skip the hole and show a line in its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from typing import Protocol

from nblaunch.logs.clearing import without_marks
from nblaunch.wording import in_words

__all__ = [
    "Log",
    "LogFile",
    "Note",
    "add_note",
    "from_its_middle",
    "held_from",
    "is_within_line",
    "older",
    "open_log",
    "order_path",
    "pack_block",
    "pack_order",
    "read_notes",
    "read_part",
    "size_of",
    "text_of",
]

# Bytes of the largest block of a file system. With a larger block, some zeros of a hole would be shown.
_BLOCK_BYTES = 1 << 16
# The bytes that a character in UTF-8 has after its first one.
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))

Note = tuple[int, int, int]
"""A note: 0 and the sizes of both files, or a stream and the offsets where lines that belong together begin and end."""

_NOTE = struct.Struct("<bqq")


class Log(Protocol):
    """The bytes of one log, on this machine or another one."""

    @property
    def path(self) -> str:
        """The path of the log, to be shown to people."""

    def size(self) -> int:
        """Return how many bytes it has; 0 if there is no log."""

    def read(self, start: int, count: int) -> bytes:
        """Return so many bytes from an offset on, or as many as there are."""

    def held_from(self, start: int) -> int:
        """Return where, at an offset or behind it, there is something that was not released."""


class LogFile:
    """A log in a file of this machine, which is opened when it is read and stays open until `close`.

    Parameters
    ----------
    path : str or os.PathLike of str
        The file. It need not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: str = os.fspath(path)
        self._descriptor: int | None = None

    def size(self) -> int:
        """Return how many bytes it has; 0 if there is no file."""
        descriptor = self._open()
        return 0 if descriptor is None else os.fstat(descriptor).st_size

    def read(self, start: int, count: int) -> bytes:
        """Return so many bytes from an offset on, or as many as there are."""
        descriptor = self._open()
        return b"" if descriptor is None else _read_all(descriptor, start, count)

    def held_from(self, start: int) -> int:
        """Return where, at an offset or behind it, there is something that was not released."""
        descriptor = self._open()
        return start if descriptor is None else _data_from(descriptor, start)

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int | None:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        return self._descriptor


def read_part(path: str, start: int, count: int) -> bytes:
    """Return so many bytes of a log file from an offset on, or as many as there are.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    # opened for each read, because a process may not have a file open for each of hundreds of ranks
    descriptor = open_log(path)
    try:
        return _read_all(descriptor, start, count)
    finally:
        os.close(descriptor)


def held_from(path: str, start: int) -> int:
    """Return where in a log file, at an offset or behind it, there is something that was not released.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    descriptor = open_log(path)
    try:
        return _data_from(descriptor, start)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, start: int, count: int) -> bytes:
    # pread, because a forked process shares the file position of descriptors that it inherits
    data = os.pread(descriptor, count, start)
    # one call reads no more than 2 GiB
    while 0 < len(data) < count and (more := os.pread(descriptor, count - len(data), start + len(data))):
        data += more
    return data


def _data_from(descriptor: int, offset: int) -> int:
    size = os.fstat(descriptor).st_size
    # most logs have no hole, which this finds out without a seek
    if offset >= size or os.pread(descriptor, 1, offset) != b"\0":
        return offset
    try:
        found = os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:
        # ENXIO means that the rest is a hole; any other error, that the file system does not know holes
        with contextlib.suppress(OSError):
            return max(offset, size) if os.lseek(descriptor, offset, os.SEEK_HOLE) == offset else offset
        return offset
    if found == offset:
        return offset
    # a block that was released in part begins with zeros
    head = os.pread(descriptor, _BLOCK_BYTES, found)
    return found + len(head) - len(head.lstrip(b"\0"))


def size_of(path: str, gone: int = 0) -> int:
    """Return how many bytes a log has; `gone` if there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return gone


def open_log(path: str) -> int:
    """Open a log for reading, but no pipe or link that a rank may have put in its place, which could block for ever.

    Raises
    ------
    FileNotFoundError
        If there is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(errno.ENOENT, "it is no file any more", path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "it is no file any more", path)
    return descriptor


# ---- a log as text


def text_of(log: Log, last: int | None = None) -> str:
    """Return the text of a log, or of its `last` bytes, with a line for what was released; empty if there is no log.

    If the last bytes begin within a line, there is a "…" before them.
    """
    try:
        size = log.size()
        begin = 0 if last is None else max(0, size - last)
        start = log.held_from(begin)
        content = log.read(start, max(0, size - start))
        # more may have been released since
        now = log.held_from(begin)
        content = content[max(0, now - start) :]
        if content and now == begin and is_within_line(log, begin):
            content = from_its_middle(content)
    except FileNotFoundError:
        return ""  # the rank has written nothing
    text = without_marks(content.decode(errors="replace"))
    return f"{older(now)}\n{text}" if now > begin else text


def from_its_middle(data: bytes) -> bytes:
    """Return a part of a log that begins within a line, with "…" before it."""
    # the part may begin within a character, the rest of which is left out
    head = data[:3].lstrip(_CONTINUATION_BYTES)
    return "…".encode() + head + data[3:]


def is_within_line(log: Log, offset: int) -> bool:
    """Tell whether an offset of a log is within a line."""
    return offset > 0 and log.read(offset - 1, 1) not in (b"\n", b"\r")


def older(count: int) -> str:
    """Return the line that is shown in place of this many bytes of a log that were released."""
    return f"[… {in_words(count)} of older output released: the log is longer than --max-log …]"


# ---- notes that a rank writes beside its logs


def order_path(stdout: str) -> str:
    """Return the path of the notes beside a rank's logs; there may be no such file."""
    return os.path.join(os.path.dirname(stdout), ".order")


def pack_order(out: int, err: int) -> bytes:
    """Return a note of the sizes of stdout and stderr when the rank changed from one to the other."""
    return _NOTE.pack(0, out, err)


def pack_block(stream: int, start: int, end: int) -> bytes:
    """Return a note that a rank has written several lines at once: the stream, and where they begin and end."""
    return _NOTE.pack(stream, start, end)


def add_note(path: str, note: bytes) -> bool:
    """Append a note to the file; return whether more notes may follow.

    Raises
    ------
    OSError
        If the disk is full.
    """
    # opened for each note, because the cell may close a descriptor, whose number then belongs to another file
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # On a full disk only a part of a note may be written, also by a process that the rank has forked. Notes after
        # such a part would be read wrongly.
        if os.fstat(file).st_size % _NOTE.size:
            return False
        return os.write(file, note) == len(note)
    finally:
        os.close(file)


def read_notes(path: str, start: int) -> tuple[list[Note], int]:
    """Return the notes from an offset on, and the offset after them; no notes if there is no file."""
    try:
        with open(open_log(path), "rb") as file:
            file.seek(start)
            data = file.read()
    except OSError:  # most ranks write no notes
        return [], start
    # the last note may be incomplete
    whole = len(data) // _NOTE.size * _NOTE.size
    return list(_NOTE.iter_unpack(data[:whole])), start + whole
