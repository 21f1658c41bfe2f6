r"""`LogFollower`: reads whole lines from a log while a rank writes it.

What a rank has written so far may end anywhere: within a line, within a character, or between ``\r`` and ``\n``.
`nblaunch.processes.tail_log` and the text panel follow logs with this class.
"""

from __future__ import annotations

from nblaunch.logs.clearing import CLEARED, CLEARED_BY_NEXT, without_marks
from nblaunch.logs.files import Log, older

__all__ = ["READ_LIMIT", "LogFollower"]

READ_LIMIT = 1 << 20
"""Bytes that one call of `LogFollower.read` reads at most, unless told otherwise."""

MAX_LINE_BYTES = 16 << 20
"""Bytes of one line that are kept in memory; a longer line is returned in pieces."""


class LogFollower:
    r"""Reads the lines that are appended to a log, each when it is complete.

    Lines end with ``\n``, ``\r\n`` or a lone ``\r``, as those of progress bars do. Bytes that are not UTF-8 become
    U+FFFD. A part that was released before it was read becomes one line that says so. A log that was truncated is read
    from its beginning.

    Parameters
    ----------
    log : Log
        The log to follow. It need not exist yet.
    overwriting : bool, optional
        Whether a lone ``\r`` begins the line again instead of ending it, as in a terminal. The last state of a
        progress bar then becomes a line, and `unfinished` is its current state.

    Attributes
    ----------
    log : Log
        The log that is followed.
    offset : int
        Bytes of the log that were read so far.
    overwritten : bool
        Whether a lone ``\r`` has begun the unfinished line again.

    Examples
    --------
    >>> import contextlib, os, tempfile
    >>> from nblaunch.logs.files import LogFile
    >>> path = os.path.join(tempfile.mkdtemp(), "stdout.log")
    >>> with contextlib.closing(LogFile(path)) as log, open(path, "w") as rank:
    ...     _ = rank.write("epoch 1\nepo")
    ...     rank.flush()
    ...     follower = LogFollower(log)
    ...     follower.read(), follower.read(final=True)
    (['epoch 1'], ['epo'])
    """

    def __init__(self, log: Log, overwriting: bool = False) -> None:
        self.log = log
        self._overwriting = overwriting
        self.offset: int = 0
        self._partial = bytearray()  # read, but its line has not ended yet
        self.overwritten: bool = False

    def read(self, final: bool = False, limit: int = READ_LIMIT) -> list[str]:
        """Return the lines that are complete since the last call, without their line ends.

        Parameters
        ----------
        final : bool, optional
            Whether nobody writes any more. If so, read to the end of the log, more than `limit` if necessary, and
            return the last line even if it has no line end.
        limit : int, optional
            Bytes that this call reads at most.

        Returns
        -------
        list of str
            Empty if there is no complete line, or no file yet.

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
        # The end is fixed before, so that a final read returns even if somebody goes on writing.
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
        size = self.log.size()
        if size < self.offset:
            self.offset = 0
        return size - self.offset

    def released(self) -> int:
        """Return how many of the bytes beyond `offset` were released, and can never be read."""
        return self.log.held_from(self.offset) - self.offset if self.unread() else 0

    @property
    def unfinished(self) -> str:
        """The line without an end, as far as it was read."""
        shown = _shown(_overwritten(bytes(self._partial.removesuffix(b"\r"))))
        return shown.decode("utf-8", errors="replace")

    def _read_some(self, count: int) -> bytes:
        if not self.unread():
            return b""
        chunk = self.log.read(self.offset, count)
        released = 0
        if chunk.startswith(b"\0"):
            released = self.released()
            if released:
                self.offset += released
                chunk = self.log.read(self.offset, count)
        self.offset += len(chunk)
        if released:
            chunk = b"%s%s\n%s" % (b"\n" if self._partial else b"", older(released).encode(), chunk)
        return chunk

    def _take_lines(self, chunk: bytes) -> list[str]:
        if self._partial.endswith(b"\r"):  # maybe the first half of "\r\n"
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
            if len(self._partial) <= MAX_LINE_BYTES:
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
        lines.pop()  # the empty rest after the last line end
        return [without_marks(line.decode("utf-8", errors="replace")) for line in lines]


def _overwritten(line: bytes) -> bytes:
    """Return a line with carriage returns in place of marks of cleared text."""
    return line.replace(CLEARED, b"\r").replace(CLEARED_BY_NEXT, b"\r") if b"\x1b[?880" in line else line


def _shown(line: bytes) -> bytes:
    """Return what a terminal shows of a line with carriage returns: the part after the last one."""
    return line[line.rfind(b"\r") + 1 :]
