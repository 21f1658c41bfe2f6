"""`Arrivals`: joins the log files of a run into logs that have the bytes in the order of their arrival.

Each rank writes to two files, which do not tell which of two bytes was written first. So `Arrivals.look` is called
while they grow, and appends what is new since the last look to two *logs*: that of the rank, and the log ``"all"``. If
a rank has written to both files between two looks, the order is the one that it has noted, see ``rank/write_order.py``.
A log is read by offsets, which never change.

The bytes that a file does not hold any more, because its oldest part was released or because it was truncated, keep
their offsets too. In their place one reads a line that says so, and characters that a terminal does not show.

The files may be on another machine: they are read through a `nblaunch.logs.reader.LogReader`.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from nblaunch.logs.files import from_its_middle, is_within_line, older
from nblaunch.logs.reader import STDERR, STDOUT, LogReader, RankLog

__all__ = ["ALL", "Arrivals", "Excerpt", "Piece"]

ALL = "all"
"""The name of the log with the bytes of all ranks. The name of a rank's log is its number."""

# The start of a part whose file was truncated, so that its bytes are lost.
_GONE = -1
# With more parts than these, the notes of ranks are ignored, which bounds the memory for parts.
_MAX_NOTED_PARTS = 200_000
# Fills the place of lost bytes, because a terminal does not show it.
_FILLER = b"\r"

Piece = tuple[int, int, int]
"""Rank, stream (1 is stdout, 2 is stderr) and number of bytes."""


@dataclass(frozen=True)
class Excerpt:
    """Part of a log: its offset, the ranks and streams that its bytes come from, and the bytes."""

    offset: int
    pieces: list[Piece]
    data: bytes = field(repr=False)


class _Sequence:
    """A log, as a sequence of parts of files."""

    def __init__(self) -> None:
        self.files = array("l")
        self.starts = array("q")
        # end of each part, as an offset in the sequence
        self.ends = array("q")

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    def append(self, file: int, start: int, count: int) -> None:
        if self.files and self.files[-1] == file and self.starts[-1] != _GONE:
            self.ends[-1] += count
            return
        self.files.append(file)
        self.starts.append(start)
        self.ends.append(self.size + count)

    def forget(self, file: int) -> None:
        """Mark all parts of a file as lost, because it was truncated."""
        for index, known in enumerate(self.files):
            if known == file:
                self.starts[index] = _GONE

    def parts(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return file, offset in the file (or `_GONE`) and number of bytes of each part between two offsets."""
        found = []
        index = bisect.bisect_right(self.ends, start)
        while index < len(self.ends) and start < end:
            begin = self.ends[index - 1] if index else 0
            count = min(self.ends[index], end) - start
            first = self.starts[index]
            found.append((self.files[index], _GONE if first == _GONE else first + start - begin, count))
            start += count
            index += 1
        return found


class Arrivals:
    """Follows the log files of a run; for one thread at a time.

    Parameters
    ----------
    reader : LogReader
        Reads the logs of the first attempt.
    """

    def __init__(self, reader: LogReader) -> None:
        # for each attempt, for each rank: stdout, then stderr
        self._files: list[RankLog] = []
        # for each file: its bytes at the last look, and the bytes that it had lost by being truncated before
        self._sizes: list[int] = []
        self._cut: list[int] = []
        # for each rank: how many bytes of its notes have been read
        self._noted: list[int] = []
        self._reader = reader
        self._per_attempt = 2 * reader.nprocs
        self._logs = {str(rank): _Sequence() for rank in range(reader.nprocs)}
        self._all = _Sequence()
        self._begin(reader)

    def go_on(self, reader: LogReader) -> None:
        """Follow the logs of the next attempt, after those of the earlier ones; called when ranks are restarted."""
        self.look()
        self._begin(reader)

    def _begin(self, reader: LogReader) -> None:
        self._sizes += [0] * self._per_attempt
        self._cut += [0] * self._per_attempt
        self._noted = [0] * reader.nprocs
        self._reader = reader
        # last, because another thread may read this list and the ones above by its length
        self._files += [RankLog(reader, rank, stream) for rank in range(reader.nprocs) for stream in (STDOUT, STDERR)]

    def look(self) -> set[int]:
        """Append what has arrived since the last look; return the ranks that have written."""
        grown = set()
        # files of earlier attempts do not grow any more
        first = len(self._files) - self._per_attempt
        for rank in range(self._reader.nprocs):
            out = first + 2 * rank
            before, after = self._sizes[out : out + 2], list(self._reader.sizes(rank))
            if before == after:
                continue
            for file, size in zip((out, out + 1), after, strict=True):
                if size < self._sizes[file]:
                    self._forget(file)
            grown.add(rank)
            for sizes in self._steps(out, before, after):
                for file, size in zip((out, out + 1), sizes, strict=True):
                    if size > self._sizes[file]:
                        self._logs[str(rank)].append(file, self._sizes[file], size - self._sizes[file])
                        self._all.append(file, self._sizes[file], size - self._sizes[file])
                        self._sizes[file] = size
        return grown

    def _forget(self, file: int) -> None:
        """Mark what was known of a file as lost, because it was truncated."""
        self._cut[file] += self._sizes[file]
        self._sizes[file] = 0
        self._logs[str(self._files[file].rank)].forget(file)
        self._all.forget(file)

    def _steps(self, out: int, before: Sequence[int], after: Sequence[int]) -> list[Sequence[int]]:
        """Return the sizes that a rank's two files had in turn, each time that it changed from one to the other."""
        rank = self._files[out].rank
        # the notes do not count what was truncated
        if any(size <= known for known, size in zip(before, after, strict=True)) or any(self._cut[out : out + 2]):
            return [after]
        if self.parts > _MAX_NOTED_PARTS:
            return [after]
        notes, self._noted[rank] = self._reader.notes(rank, self._noted[rank])
        # notes of sizes before or beyond these two looks append nothing
        return [*(tuple(map(min, sizes, after)) for kind, *sizes in notes if kind == 0), after]

    def blocks(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """Return where lines were written at once, by rank and stream: start and end as offsets in the whole stream."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        before = [0] * self._per_attempt
        for out in range(0, len(self._files), 2):
            log = self._files[out]
            # the notes do not count what was truncated
            notes = [] if any(self._cut[out : out + 2]) else log.reader.notes(log.rank, 0)[0]
            for stream, start, end in notes:
                file = out + stream - STDOUT
                if stream in (STDOUT, STDERR) and 0 <= start < end <= self._sizes[file]:
                    begins = before[file % self._per_attempt]
                    found.setdefault((log.rank, stream), []).append((begins + start, begins + end))
            for file in (out, out + 1):
                before[file % self._per_attempt] += self._cut[file] + self._sizes[file]
        return found

    def folder(self, attempt: int, rank: int | None = None) -> str:
        """Return the folder with the logs of an attempt, or of one of its ranks, to be shown to people."""
        log = self._files[attempt * self._per_attempt + 2 * (rank or 0)]
        return log.reader.path if rank is None else log.path.rpartition("/")[0]

    @property
    def parts(self) -> int:
        """How many parts the log of all ranks has, which is what it costs in memory."""
        return len(self._all.files)

    def knows(self, log: str) -> bool:
        """Tell whether there is such a log."""
        return log == ALL or log in self._logs

    def size(self, log: str) -> int:
        """Return how many bytes of a log have arrived."""
        return self._sequence(log).size

    def written(self, rank: int) -> tuple[int, int]:
        """Return how many bytes a rank has written to stdout and to stderr, in all attempts."""
        out, err = (sum(self._cut[file] + self._sizes[file] for file in files) for files in self._files_of(rank))
        return out, err

    def released(self, rank: int) -> int:
        """Return how many bytes of a rank its files do not hold any more."""
        count = 0
        for file in itertools.chain(*self._files_of(rank)):
            count += self._cut[file]
            with contextlib.suppress(OSError):
                count += min(self._sizes[file], self._files[file].held_from(0))
        return count

    def _files_of(self, rank: int) -> tuple[range, range]:
        """Return the files of a rank's standard output and of its standard error, one for each attempt."""
        end, step = len(self._files), self._per_attempt
        return range(2 * rank, end, step), range(2 * rank + 1, end, step)

    def is_at_hand(self, log: str, start: int, end: int) -> bool:
        """Tell whether a part of a log can be read without waiting; if not, have it sent here."""
        # with the byte before it, which `read_lines` needs
        parts = self._sequence(log).parts(max(0, start - 1), end)
        files = [(self._files[file], offset, count) for file, offset, count in parts if offset != _GONE]
        # a list, because each file is to be asked, even after the first that says no
        found = [file.reader.is_at_hand(file.rank, file.stream, offset, count) for file, offset, count in files]
        return all(found)

    def read(self, log: str, start: int, end: int) -> Excerpt:
        """Return the bytes of a log between two offsets, as far as there are any.

        Raises
        ------
        OSError
            If a file cannot be read.
        """
        pieces: list[Piece] = []
        data = []
        start = max(0, start)
        for file, offset, count in self._sequence(log).parts(start, end):
            source = self._files[file]
            found = b"" if offset == _GONE else source.read(offset, count)
            missing = count
            if offset != _GONE:
                missing = _released(source, offset, count) if found.startswith(b"\0") else 0
            # filled up to its length, in case the file was truncated since the last look
            data.append(_in_place_of(missing) + found[missing:].ljust(count - missing, _FILLER))
            pieces.append((source.rank, source.stream, count))
        return Excerpt(start, pieces, b"".join(data))

    def read_lines(self, log: str, start: int, end: int) -> Excerpt:
        """Do what `read` does, but begin with a whole line, and after bytes that the files do not hold any more."""
        start = self._first_held(log, max(0, start), end)
        if start <= 0:
            return self.read(log, 0, end)
        # with the byte before `start`: if a line ends there, nothing is left out
        excerpt = self.read(log, start - 1, end)
        if not excerpt.pieces:
            return Excerpt(start, [], b"")
        rank, stream, count = excerpt.pieces[0]
        # in the first piece only, because the next one is of another rank or stream
        cut = excerpt.data.find(b"\n", 0, count) + 1
        if cut == 0 or cut == len(excerpt.data):
            cut = 1
        first = [(rank, stream, count - cut)] if count > cut else []
        return Excerpt(excerpt.offset + cut, [*first, *excerpt.pieces[1:]], excerpt.data[cut:])

    def within_line(self, log: str, start: int, end: int) -> set[tuple[int, int]]:
        """Return the ranks and streams whose first byte between two offsets is not the first of a line.

        Raises
        ------
        OSError
            If a file cannot be read.
        """
        first: dict[tuple[int, int], tuple[RankLog, int]] = {}
        for file, offset, _ in self._sequence(log).parts(start, end):
            found = self._files[file]
            first.setdefault((found.rank, found.stream), (found, offset))
        return {
            source for source, (found, offset) in first.items() if offset != _GONE and is_within_line(found, offset)
        }

    def end_of(self, rank: int, count: int) -> bytes:
        """Return the last bytes of the stream that a rank has written to last."""
        sequence = self._logs[str(rank)]
        if not sequence.files:
            return b""
        file = self._files[sequence.files[-1]]
        with contextlib.suppress(OSError):
            data = file.reader.tail(rank, file.stream, count + 1)
            before, data = data[:-count], data[-count:]
            # without the zeros of a part that was released
            data = data.lstrip(b"\0")
            return from_its_middle(data) if data and before and before not in b"\n\r" else data
        return b""

    def _first_held(self, log: str, start: int, end: int) -> int:
        for file, offset, count in self._sequence(log).parts(start, end):
            released = count if offset == _GONE else _released(self._files[file], offset, count)
            start += released
            if released < count:
                break
        return start

    def _sequence(self, log: str) -> _Sequence:
        return self._all if log == ALL else self._logs[log]


def _released(log: RankLog, offset: int, count: int) -> int:
    """Return how many of the first of `count` bytes of a log were released."""
    return min(count, log.held_from(offset) - offset)


def _in_place_of(count: int) -> bytes:
    """Return as many bytes for those that were lost: a line that says so, if there is room, and filler."""
    note = f"{older(count)}\n".encode()
    return note.rjust(count, _FILLER) if len(note) <= count else _FILLER * count
