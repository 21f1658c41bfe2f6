"""`LogReader`: the interface through which the logs of ranks are read, on whichever machine the ranks run.

::

    engine ─► Ranks.logs(attempt) ─► LogReader ─► Arrivals (panel, record), LogFollower (text), run.logs

Code that shows or keeps what ranks have written uses this and opens no file, because the files may be on another
machine. For example, ``reader.read(2, STDERR, 0, 100)`` returns the first hundred bytes that rank 2 has written to its
standard error. A reader belongs to one attempt: ranks that are started again write to other files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from nblaunch.logs.files import Note, held_from, order_path, read_notes, read_part, size_of

__all__ = ["STDERR", "STDOUT", "FindLogs", "LocalLogs", "LogReader", "RankLog"]

STDOUT, STDERR = 1, 2


class LogReader(Protocol):
    """The logs of the ranks of one attempt. All methods may be called from any thread.

    Sizes and ends of logs on another machine are sent here while they grow, so most methods never wait. Only `read` may
    wait, for older bytes; `is_at_hand` has these sent without waiting.
    """

    @property
    def nprocs(self) -> int:
        """How many ranks there are."""

    @property
    def path(self) -> str:
        """The path of the folder that has one folder for each rank, to be shown to people."""

    def place(self, rank: int, stream: int) -> str:
        """Return the path of a log, to be shown to people; it is a file in the folder of the rank."""

    def sizes(self, rank: int) -> tuple[int, int]:
        """Return how many bytes stdout and stderr of a rank have; for a log that was removed, how many it had."""

    def read(self, rank: int, stream: int, start: int, count: int) -> bytes:
        """Return so many bytes of a log from an offset on, or as many as there are; what was released reads as zeros.

        Raises
        ------
        OSError
            If the log cannot be read.
        """

    def is_at_hand(self, rank: int, stream: int, start: int, count: int) -> bool:
        """Tell whether `read` would not wait for these bytes; if it would, have them sent to this machine.

        If the result is False, call this again later. It is True for bytes of which `read` raises.
        """

    def held_from(self, rank: int, stream: int, start: int) -> int:
        """Return where in a log, at an offset or behind it, there is something that was not released.

        Raises
        ------
        OSError
            If the log cannot be read.
        """

    def tail(self, rank: int, stream: int, count: int) -> bytes:
        """Return the last bytes of a log, at most `count`.

        Raises
        ------
        OSError
            If the log cannot be read.
        """

    def notes(self, rank: int, start: int) -> tuple[list[Note], int]:
        """Return what a rank has noted on the order of its writes, from an offset on, and the offset after that."""


FindLogs = Callable[[int], LogReader]
"""Returns the reader for an attempt, by the number of the attempt."""


@dataclass(frozen=True)
class RankLog:
    """One log behind a reader; see `nblaunch.logs.files.Log`.

    Parameters
    ----------
    reader : LogReader
        The reader.
    rank, stream : int
        The rank, and `STDOUT` or `STDERR`.
    """

    reader: LogReader
    rank: int
    stream: int

    @property
    def path(self) -> str:
        """The path of the log, to be shown to people."""
        return self.reader.place(self.rank, self.stream)

    def size(self) -> int:
        """Return how many bytes it has."""
        return self.reader.sizes(self.rank)[self.stream - STDOUT]

    def read(self, start: int, count: int) -> bytes:
        """Return so many bytes from an offset on, or as many as there are."""
        return self.reader.read(self.rank, self.stream, start, count)

    def held_from(self, start: int) -> int:
        """Return where, at an offset or behind it, there is something that was not released."""
        return self.reader.held_from(self.rank, self.stream, start)


class LocalLogs:
    """Logs in files of this machine; see `LogReader`.

    Parameters
    ----------
    path : str
        The folder that has one folder for each rank.
    files : mapping of int to tuple of str
        The two files of each rank. They need not exist yet.
    """

    def __init__(self, path: str, files: Mapping[int, tuple[str, str]]) -> None:
        self.path = path
        self.nprocs: int = len(files)
        self._paths = files
        self._sizes = dict.fromkeys(files, (0, 0))

    def place(self, rank: int, stream: int) -> str:
        """Return the path of a log."""
        return self._paths[rank][stream - STDOUT]

    def sizes(self, rank: int) -> tuple[int, int]:
        """Return how many bytes the two logs of a rank have; of one that is gone, how many it had."""
        (out, err), (out_before, err_before) = self._paths[rank], self._sizes[rank]
        self._sizes[rank] = sizes = size_of(out, out_before), size_of(err, err_before)
        return sizes

    def read(self, rank: int, stream: int, start: int, count: int) -> bytes:
        """Return a part of a log."""
        return read_part(self.place(rank, stream), start, count)

    def is_at_hand(self, rank: int, stream: int, start: int, count: int) -> bool:
        """Return True, because the files are on this machine."""
        return True

    def held_from(self, rank: int, stream: int, start: int) -> int:
        """Return where in a log, at an offset or behind it, there is something that was not released."""
        return held_from(self.place(rank, stream), start)

    def tail(self, rank: int, stream: int, count: int) -> bytes:
        """Return the last bytes of a log."""
        start = max(0, self.sizes(rank)[stream - STDOUT] - count)
        return self.read(rank, stream, start, count)

    def notes(self, rank: int, start: int) -> tuple[list[Note], int]:
        """Return what a rank has noted on the order of its writes."""
        return read_notes(order_path(self.place(rank, STDOUT)), start)
