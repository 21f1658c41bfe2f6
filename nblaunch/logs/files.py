r"""Following a log file while somebody else writes it.

A rank writes bytes at its own pace, and breaks them off anywhere: inside a line, inside a character, between
the two halves of ``\r\n``. Bytes come in here, whole lines of text go out. The tailer of the process layer
and the notebook's text panel both read logs through this room.

Of a log that grows too long the oldest part is released: the file has a hole there, which reads as zeros, and all
offsets stay as they are. Readers pass over it, and say so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from typing import TYPE_CHECKING

from nblaunch.logs.clearing import CLEARED, CLEARED_BY_NEXT, without_marks
from nblaunch.wording import in_words

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

READ_LIMIT = 1 << 20
"""Bytes that one call of `LogFollower.read` reads at most, unless told otherwise."""

LONGEST_LINE = 16 << 20
"""Bytes of one line that are kept in memory; a longer line is handed out in pieces."""

# Of a file system; a larger one would only leave a few zeros in sight.
_BLOCK = 1 << 16
# What a character of UTF-8 that is not ASCII goes on with.
_REST_OF_CHARACTER = bytes(range(0x80, 0xC0))


# What a note says (0 for the sizes of both files; else the stream in which lines belong together), and two offsets.
_NOTE = struct.Struct("<bqq")


def order_path(stdout: str) -> str:
    """Return the file beside a rank's logs with its notes on what it wrote when; there may be none."""
    return os.path.join(os.path.dirname(stdout), ".order")


def pack_order(out: int, err: int) -> bytes:
    """Return a note of how large both files were when the rank went from one to the other."""
    return _NOTE.pack(0, out, err)


def pack_block(stream: int, start: int, end: int) -> bytes:
    """Return a note that a rank wrote several lines at once: of which stream, and from where to where."""
    return _NOTE.pack(stream, start, end)


def add_note(path: str, note: bytes) -> bool:
    """Write a note behind the others; tell whether more may follow.

    Raises
    ------
    OSError
        If there is no room for any of it.
    """
    # opened each time: a descriptor that is kept may be closed by the cell, and be something else by now
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # On a full disk a part may be written. All that came behind it would be read wrongly; a process that the rank
        # has forked may have left such a part too.
        if os.fstat(file).st_size % _NOTE.size:
            return False
        return os.write(file, note) == len(note)
    finally:
        os.close(file)


def read_order(path: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """Return the sizes of both files that are noted in such a file from an offset on, and the offset behind them."""
    notes, end = _read_notes(path, start)
    return [(out, err) for kind, out, err in notes if kind == 0], end


def read_blocks(path: str) -> list[tuple[int, int, int]]:
    """Return the stream, the start and the end of all that is noted there as lines that belong together."""
    notes, _ = _read_notes(path, 0)
    return [note for note in notes if note[0] != 0]


def _read_notes(path: str, start: int) -> tuple[list[tuple[int, int, int]], int]:
    try:
        with open(open_log(path), "rb") as file:
            file.seek(start)
            data = file.read()
    except OSError:  # most ranks have none
        return [], start
    # of a note that is still being written, or never came to its end, nothing is known
    whole = len(data) // _NOTE.size * _NOTE.size
    return list(_NOTE.iter_unpack(data[:whole])), start + whole


def from_its_middle(data: bytes) -> bytes:
    """Return a part of a log that begins within a line, with a mark that says so."""
    # nor is the rest of a character for people
    head = data[:3].lstrip(_REST_OF_CHARACTER)
    return "…".encode() + head + data[3:]


def is_within_line(descriptor: int, offset: int) -> bool:
    """Tell whether a line goes on at this offset of a file that is open."""
    return offset > 0 and os.pread(descriptor, 1, offset - 1) not in (b"\n", b"\r")


def older(count: int) -> str:
    """Return the line that stands for so many bytes of a log that were released."""
    return f"[… {in_words(count)} of older output released: the log is longer than --max-log …]"


def data_from(descriptor: int, offset: int) -> int:
    """Return where in a file that is open, at `offset` or behind, there is something that was not released."""
    size = os.fstat(descriptor).st_size
    # most logs have no hole: that is seen without moving about in the file
    if offset >= size or os.pread(descriptor, 1, offset) != b"\0":
        return offset
    try:
        found = os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:
        # ENXIO: only a hole is left. Whatever else: a file system that knows no holes
        with contextlib.suppress(OSError):
            return max(offset, size) if os.lseek(descriptor, offset, os.SEEK_HOLE) == offset else offset
        return offset
    if found == offset:
        return offset
    # of a block that was released in part, that part reads as zeros
    head = os.pread(descriptor, _BLOCK, found)
    return found + len(head) - len(head.lstrip(b"\0"))


def size_of(path: str | os.PathLike[str]) -> int:
    """Return how many bytes a log has, 0 if there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def open_log(path: str) -> int:
    """Open a log for reading, and nothing else that a rank may have put in its place.

    Reading a pipe could last for ever, and so may whoever watches the ranks.

    Raises
    ------
    FileNotFoundError
        If there is no file, or something that is none.
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


def read_log(path: str, last: int | None = None) -> str:
    """Return what a log holds, or its last bytes, with a line for what was released; nothing if there is no file.

    Where its last bytes begin within a line, a "…" stands before them.
    """
    try:
        descriptor = open_log(path)
    except FileNotFoundError:
        return ""  # the rank never came to write it
    with open(descriptor, "rb") as file:
        begin = 0 if last is None else max(0, os.fstat(descriptor).st_size - last)
        start = data_from(descriptor, begin)
        file.seek(start)
        content = file.read() if last is None else file.read(last)
        # more may have been released meanwhile
        now = data_from(descriptor, begin)
        content = content[max(0, now - start) :]
        if content and now == begin and is_within_line(descriptor, begin):
            content = from_its_middle(content)
        text = without_marks(content.decode(errors="replace"))
    return f"{older(now)}\n{text}" if now > begin else text


class LogFollower:
    r"""Reads the lines that are appended to a file, as they become whole.

    Lines end with ``\n``, ``\r\n`` or a lone ``\r``, so that progress bars arrive too. Bytes that are not
    UTF-8 become U+FFFD. What was released before it was read is one line that says so, and a file that was cut is read
    from its beginning.

    Parameters
    ----------
    path : str or os.PathLike of str
        The file to follow. It need not exist yet.
    overwriting : bool, optional
        Let a lone ``\r`` begin the line anew instead of ending it, as a terminal does: of a progress bar only the
        last state becomes a line, and `unfinished` tells the present one.

    Attributes
    ----------
    path : str
        The file that is followed.
    offset : int
        Bytes of the file that were read so far. It stands still when the end of the file has been reached.
    overwritten : bool
        Whether the line that has not ended yet was begun anew, as a progress bar does.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "stdout.log")
    >>> with LogFollower(path) as log, open(path, "w") as rank:
    ...     _ = rank.write("epoch 1\nepo")
    ...     rank.flush()
    ...     log.read(), log.read(final=True)
    (['epoch 1'], ['epo'])
    """

    def __init__(self, path: str | os.PathLike[str], overwriting: bool = False) -> None:
        self.path = os.fspath(path)
        self._overwriting = overwriting
        self.offset = 0
        self._descriptor: int | None = None
        self._partial = bytearray()  # read, but its line has not ended yet
        self.overwritten = False

    def read(self, final: bool = False, limit: int = READ_LIMIT) -> list[str]:
        """Return the lines that have become whole since the last call, without their ends.

        Parameters
        ----------
        final : bool, optional
            Nobody writes any more: read up to the present end of the file, whatever `limit` says, and return
            the last line even if it was never ended.
        limit : int, optional
            Bytes to read at most, which bounds the work of one call.

        Returns
        -------
        list of str
            Empty if there is nothing new, or no file yet.

        Raises
        ------
        ValueError
            If `limit` is less than 1.
        OSError
            If the file is there but cannot be read.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1 byte, got {limit}: with less, the file is never read")
        lines: list[str] = []
        # The end is fixed now, so that a writer who never stops cannot keep a final read from returning.
        end = self.offset + self.unread() if final else self.offset + limit
        while self.offset < end and (chunk := self._read_some(min(limit, end - self.offset))):
            lines += self._take_lines(chunk)
            if not final:
                break
        if final and self._partial:
            lines += self._split(bytes(self._partial.removesuffix(b"\r")) + b"\n")
            self._partial.clear()
        return lines

    def unread(self) -> int:
        """Return how many bytes the file holds beyond `offset`; 0 if there is no file."""
        descriptor = self._open()
        if descriptor is None:
            return 0
        size = os.fstat(descriptor).st_size
        if size < self.offset:
            self.offset = 0
        return size - self.offset

    def released(self) -> int:
        """Return how many of the bytes beyond `offset` were released, and will never be read."""
        descriptor = self._open()
        return 0 if descriptor is None else data_from(descriptor, self.offset) - self.offset

    @property
    def unfinished(self) -> str:
        """The line that has not ended yet, as far as it was read."""
        shown = _shown(_overwritten(bytes(self._partial.removesuffix(b"\r"))))
        return shown.decode("utf-8", errors="replace")

    def close(self) -> None:
        """Close the file; a later read opens it again and goes on where this one ended."""
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

    def _read_some(self, count: int) -> bytes:
        descriptor = self._open()
        if descriptor is None:
            return b""
        # pread, because a forked rank shares the file position of every descriptor that it inherits.
        chunk = os.pread(descriptor, count, self.offset)
        if not chunk and self.offset and self.unread():
            # it was cut
            chunk = os.pread(descriptor, count, self.offset)
        released = 0
        if chunk.startswith(b"\0"):
            released = data_from(descriptor, self.offset) - self.offset
            if released:
                self.offset += released
                chunk = os.pread(descriptor, count, self.offset)
        self.offset += len(chunk)
        if released:
            chunk = b"%s%s\n%s" % (b"\n" if self._partial else b"", older(released).encode(), chunk)
        return chunk

    def _take_lines(self, chunk: bytes) -> list[str]:
        if self._partial.endswith(b"\r"):  # now it shows whether that was half of a "\r\n"
            del self._partial[-1]
            chunk = b"\r" + chunk
        # A "\r" at the very end has to wait for what follows it.
        cut = chunk.rfind(b"\n") + 1
        if not self._overwriting:
            cut = max(cut, chunk.rfind(b"\r", 0, -1) + 1)
        self._partial += chunk[:cut] if cut else chunk
        if cut == 0:
            if self._overwriting:
                begin = self._partial.rfind(b"\r", 0, -1) + 1
                self.overwritten = self.overwritten or begin > 0
                del self._partial[:begin]
            if len(self._partial) <= LONGEST_LINE:
                return []
            piece = self._partial.decode("utf-8", errors="replace")
            self._partial.clear()
            return [piece]
        lines = self._split(bytes(self._partial))
        self._partial[:] = chunk[cut:]
        self.overwritten = False
        return lines

    def _split(self, block: bytes) -> list[str]:
        """Split whole lines; ``str.splitlines`` would also split at form feeds and other characters."""
        lines: list[bytes]
        if self._overwriting:
            lines = [_shown(_overwritten(line).removesuffix(b"\r")) for line in block.split(b"\n")]
        else:
            lines = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        lines.pop()  # behind the last line end there is nothing
        return [without_marks(line.decode("utf-8", errors="replace")) for line in lines]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


def _overwritten(line: bytes) -> bytes:
    """Return a line that begins anew where the rank has cleared what it had written."""
    return line.replace(CLEARED, b"\r").replace(CLEARED_BY_NEXT, b"\r") if b"\x1b[?880" in line else line


def _shown(line: bytes) -> bytes:
    """Return what a terminal shows of a line in which carriage returns begin it anew."""
    return line[line.rfind(b"\r") + 1 :]
