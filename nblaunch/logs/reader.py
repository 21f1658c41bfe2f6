"""`LogReader`: the door to the logs of ranks, wherever the ranks live.

::

    engine ─► Ranks.logs(attempt) ─► LogReader ─► Arrivals (panel, record), LogFollower (text), run.logs

Whoever shows or keeps what ranks have written reads it here and opens no file, because the files may lie on another
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

    Of logs that lie elsewhere, their sizes and ends are sent here while they grow. So most methods answer with what is
    known here and never wait. Only `read` may wait, for older bytes; `is_at_hand` asks for these without waiting.
    """

    @property
    def nprocs(self) -> int:
        """How many ranks there are."""

    @property
    def path(self) -> str:
        """The folder that holds one folder for each rank, as people are told."""

    def place(self, rank: int, stream: int) -> str:
        """Return where a log lies, as people are told: the path of a file in the folder of its rank."""

    def sizes(self, rank: int) -> tuple[int, int]:
        """Return how many bytes the two logs of a rank have; of one that is gone, how many it had."""

    def read(self, rank: int, stream: int, start: int, count: int) -> bytes:
        """Return so many bytes of a log from an offset on, or as many as there are; what was released reads as zeros.

        Raises
        ------
        OSError
            If the log cannot be read.
        """

    def is_at_hand(self, rank: int, stream: int, start: int, count: int) -> bool:
        """Tell whether `read` would not wait for these bytes; else have them sent here, unless they are on their way.

        Whoever gets False asks again later. Of bytes that cannot be had it is True, and `read` raises.
        """

    def held_from(self, rank: int, stream: int, start: int) -> int:
        """Return where in a log, at an offset or behind it, there is something that was not released.

        Raises
        ------
        OSError
            If the log cannot be read.
        """

    def tail(self, rank: int, stream: int, count: int) -> bytes:
        """Return the last bytes of a log, at most so many.

        Raises
        ------
        OSError
            If the log cannot be read.
        """

    def notes(self, rank: int, start: int) -> tuple[list[Note], int]:
        """Return what a rank has noted on the order of its writes, from an offset on, and the offset behind that."""


FindLogs = Callable[[int], LogReader]
"""Returns who reads the logs of an attempt, by its number."""


@dataclass(frozen=True)
class RankLog:
    """One log behind a reader; see `nblaunch.logs.files.Log`.

    Parameters
    ----------
    reader : LogReader
        Who reads it.
    rank, stream : int
        Which one.
    """

    reader: LogReader
    rank: int
    stream: int

    @property
    def path(self) -> str:
        """Where it lies, as people are told."""
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
        The folder that holds one folder for each rank.
    stdouts, stderrs : mapping of int to str
        The files of each rank. They need not exist yet.
    """

    def __init__(self, path: str, stdouts: Mapping[int, str], stderrs: Mapping[int, str]) -> None:
        self.path = path
        self.nprocs: int = len(stdouts)
        self._paths = [(stdouts[rank], stderrs[rank]) for rank in range(self.nprocs)]
        self._sizes = [(0, 0)] * self.nprocs

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
        """Return True: the files are here."""
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
