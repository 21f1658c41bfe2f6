"""`Arrivals`: in which order the bytes of a run's logs arrived, so that many files read as one.

Each rank writes to two files. Nothing in them says which of two bytes came first, so whoever wants to show both in one
text has to look while they grow: what was new at a look lies behind what was there before. What one rank wrote to both
between two looks is in the order that the rank has noted, see ``rank/write_order.py``, which notes lines that belong
together too. One *log* per rank holds its two files in that order, and the log ``"all"`` those of all ranks. A log is
addressed by absolute offsets, which never change, so that any part of it can be read again at any time.

What a file does not hold any more, because its oldest part was released or because it was cut, keeps its addresses too.
In its place stands a line that says so, or nothing that would be seen.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from nblaunch.logs.files import (
    data_from,
    from_its_middle,
    is_within_line,
    older,
    open_log,
    order_path,
    read_blocks,
    read_order,
)

__all__ = ["ALL", "Arrivals", "Excerpt", "Piece"]

ALL = "all"
"""The log with the bytes of all ranks; that of one rank is called by its number."""

STDOUT, STDERR = 1, 2

# In the place of a part that was cut away, instead of where it began.
_GONE = -1
# Parts above which the notes of ranks are not followed any more: what is kept in memory is bounded so.
_MAX_NOTED_PARTS = 200_000
# A terminal shows nothing of it.
_UNSEEN = b"\r"

Piece = tuple[int, int, int]
"""Rank, stream (1 is stdout, 2 is stderr) and number of bytes."""


@dataclass(frozen=True)
class Excerpt:
    """Part of a log: from which offset on, whose bytes come one behind the other, and the bytes."""

    offset: int
    pieces: list[Piece]
    data: bytes = field(repr=False)


class _Sequence:
    """Parts of files, one behind the other."""

    def __init__(self) -> None:
        self.files = array("l")
        self.starts = array("q")
        # offset behind each part, in the sequence
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
        """Take note that nothing is left of what a file held."""
        for index, known in enumerate(self.files):
            if known == file:
                self.starts[index] = _GONE

    def parts(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return file, offset in it (or `_GONE`) and number of bytes for what lies between two offsets."""
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
    """Follows the log files of a run; not safe for several threads.

    Parameters
    ----------
    stdouts, stderrs : sequence of str
        The files of each rank, in the order of the ranks. They need not exist yet.
    """

    def __init__(self, stdouts: Sequence[str], stderrs: Sequence[str]) -> None:
        self._paths: list[str] = []
        # how much of each file has been seen, and how much of that had been cut away again before it had this size
        self._sizes: list[int] = []
        self._cut: list[int] = []
        # how much has been read of each rank's notes about the order of its writes
        self._noted: list[int] = []
        self._per_attempt = 2 * len(stdouts)
        self.go_on(stdouts, stderrs)
        self._logs = {str(rank): _Sequence() for rank in range(len(stdouts))}
        self._all = _Sequence()

    def go_on(self, stdouts: Sequence[str], stderrs: Sequence[str]) -> None:
        """Follow other files from now on, whose bytes come behind those of the ones before: ranks were restarted."""
        if self._paths:
            self.look()
        self._paths += [path for pair in zip(stdouts, stderrs, strict=True) for path in pair]
        self._sizes += [0] * self._per_attempt
        self._cut += [0] * self._per_attempt
        self._noted = [0] * len(stdouts)

    def look(self) -> set[int]:
        """See what has arrived since the last look; return the ranks that have written."""
        grown = set()
        # of earlier attempts nothing comes any more
        for out in range(len(self._paths) - self._per_attempt, len(self._paths), 2):
            before, after = self._sizes[out : out + 2], [self._size(out), self._size(out + 1)]
            if before == after:
                continue
            grown.add(self._rank(out))
            for sizes in self._steps(out, before, after):
                for file, size in zip((out, out + 1), sizes, strict=True):
                    if size > self._sizes[file]:
                        self._logs[str(self._rank(file))].append(file, self._sizes[file], size - self._sizes[file])
                        self._all.append(file, self._sizes[file], size - self._sizes[file])
                        self._sizes[file] = size
        return grown

    def _size(self, file: int) -> int:
        """Return the size of a file; of one that was cut, what was known is forgotten."""
        try:
            size = os.path.getsize(self._paths[file])
        except OSError:
            return self._sizes[file]
        if size < self._sizes[file]:
            # it begins anew
            self._cut[file] += self._sizes[file]
            self._sizes[file] = 0
            self._logs[str(self._rank(file))].forget(file)
            self._all.forget(file)
        return size

    def _steps(self, out: int, before: Sequence[int], after: Sequence[int]) -> list[Sequence[int]]:
        """Return the sizes of a rank's two files one after the other, as it wrote to one and then to the other."""
        rank = self._rank(out)
        # of files that have been cut, the notes say nothing
        if any(size <= known for known, size in zip(before, after, strict=True)) or any(self._cut[out : out + 2]):
            return [after]
        if self.parts > _MAX_NOTED_PARTS:
            return [after]
        notes, self._noted[rank] = read_order(order_path(self._paths[out]), self._noted[rank])
        # those of a moment that is past already, or still to come, make no step
        return [*(tuple(map(min, note, after)) for note in notes), after]

    def blocks(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """Return by rank and stream which bytes came at once and are several lines: offsets in all of that stream."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        before = [0] * self._per_attempt
        for out in range(0, len(self._paths), 2):
            # of a file that has been cut, the notes say nothing
            notes = [] if any(self._cut[out : out + 2]) else read_blocks(order_path(self._paths[out]))
            for stream, start, end in notes:
                file = out + stream - STDOUT
                if stream in (STDOUT, STDERR) and 0 <= start < end <= self._sizes[file]:
                    begins = before[file % self._per_attempt]
                    found.setdefault((self._rank(out), stream), []).append((begins + start, begins + end))
            for file in (out, out + 1):
                before[file % self._per_attempt] += self._cut[file] + self._sizes[file]
        return found

    @property
    def parts(self) -> int:
        """How many parts the log of all ranks is made of: what it costs in memory and goes up with each look."""
        return len(self._all.files)

    def knows(self, log: str) -> bool:
        """Tell whether there is such a log."""
        return log == ALL or log in self._logs

    def size(self, log: str) -> int:
        """Return how many bytes of a log have arrived."""
        return self._sequence(log).size

    def written(self, rank: int) -> tuple[int, int]:
        """Return how many bytes a rank has written to its two streams."""
        out, err = (sum(self._cut[file] + self._sizes[file] for file in files) for files in self._files(rank))
        return out, err

    def released(self, rank: int) -> int:
        """Return how many of them its files do not hold any more."""
        count = 0
        for file in itertools.chain(*self._files(rank)):
            count += self._cut[file]
            with contextlib.suppress(OSError):
                count += _held_from(self._paths[file], 0, self._sizes[file])
        return count

    def _rank(self, file: int) -> int:
        return file % self._per_attempt // 2

    def _files(self, rank: int) -> tuple[range, range]:
        """Return those of standard output and those of standard error, one for each attempt."""
        end, step = len(self._paths), self._per_attempt
        return range(2 * rank, end, step), range(2 * rank + 1, end, step)

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
            found = b"" if offset == _GONE else _read(self._paths[file], offset, count)
            missing = count - len(found) if offset == _GONE else _held_from(self._paths[file], offset, count, found)
            # what was there at a look and has been taken away since: the addresses of the rest shall hold
            data.append(_in_place_of(missing) + found[missing:].ljust(count - missing, _UNSEEN))
            pieces.append((self._rank(file), STDERR if file % 2 else STDOUT, count))
        return Excerpt(start, pieces, b"".join(data))

    def read_lines(self, log: str, start: int, end: int) -> Excerpt:
        """Do the same, but leave out the beginning of a line whose first part lies before `start`.

        Also left out is what the files do not hold any more, as long as nothing that they hold comes before it.
        """
        start = self._first_held(log, max(0, start), end)
        if start <= 0:
            return self.read(log, 0, end)
        # with the byte before: behind the end of a line, nothing is left out
        excerpt = self.read(log, start - 1, end)
        if not excerpt.pieces:
            return Excerpt(start, [], b"")
        rank, stream, count = excerpt.pieces[0]
        # within the first piece only: behind it somebody else writes
        cut = excerpt.data.find(b"\n", 0, count) + 1
        if cut == 0 or cut == len(excerpt.data):
            cut = 1
        first = [(rank, stream, count - cut)] if count > cut else []
        return Excerpt(excerpt.offset + cut, [*first, *excerpt.pieces[1:]], excerpt.data[cut:])

    def within_line(self, log: str, start: int, end: int) -> set[tuple[int, int]]:
        """Return the ranks and streams of which what lies between two offsets begins within a line.

        Raises
        ------
        OSError
            If a file cannot be read.
        """
        first: dict[tuple[int, int], tuple[int, int]] = {}
        for file, offset, _ in self._sequence(log).parts(start, end):
            first.setdefault((self._rank(file), STDERR if file % 2 else STDOUT), (file, offset))
        return {
            source
            for source, (file, offset) in first.items()
            if offset != _GONE and _goes_on(self._paths[file], offset)
        }

    def end_of(self, rank: int, count: int) -> bytes:
        """Return the last bytes that a rank wrote, to the stream that it has written to last."""
        sequence = self._logs[str(rank)]
        if not sequence.files:
            return b""
        file = sequence.files[-1]
        start = max(0, self._sizes[file] - count)
        with contextlib.suppress(OSError):
            # behind what was released, if it reaches so far
            data = _read(self._paths[file], start, count).lstrip(b"\0")
            return from_its_middle(data) if data and _goes_on(self._paths[file], start) else data
        return b""

    def _first_held(self, log: str, start: int, end: int) -> int:
        for file, offset, count in self._sequence(log).parts(start, end):
            held_from = count if offset == _GONE else _held_from(self._paths[file], offset, count)
            start += held_from
            if held_from < count:
                break
        return start

    def _sequence(self, log: str) -> _Sequence:
        return self._all if log == ALL else self._logs[log]


def _read(path: str, offset: int, count: int) -> bytes:
    # opened each time: hundreds of open files would be more than a process may have
    descriptor = open_log(path)
    try:
        return os.pread(descriptor, count, offset)
    finally:
        os.close(descriptor)


def _goes_on(path: str, offset: int) -> bool:
    """Tell whether a line goes on at this offset of a file."""
    descriptor = open_log(path)
    try:
        return is_within_line(descriptor, offset)
    finally:
        os.close(descriptor)


def _held_from(path: str, offset: int, count: int, found: bytes = b"\0") -> int:
    """Return how many of so many bytes of a file were released; `found` is what was read there, if it was read."""
    if not found.startswith(b"\0"):
        return 0
    descriptor = open_log(path)
    try:
        return min(count, data_from(descriptor, offset) - offset)
    finally:
        os.close(descriptor)


def _in_place_of(count: int) -> bytes:
    """Return so many bytes that show little."""
    note = f"{older(count)}\n".encode()
    return note.rjust(count, _UNSEEN) if len(note) <= count else _UNSEEN * count
