"""Logs of tests: files with made up names behind the door that nblaunch reads logs through."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from nblaunch.logs.files import LogFile, text_of
from nblaunch.logs.following import LogFollower
from nblaunch.logs.reader import STDOUT, LocalLogs, LogReader, RankLog


class DistantLogs(LocalLogs):
    """Logs of rank 0 as if on another machine: older bytes are not here before they were asked for and have arrived.

    Sizes and the last `pushed` bytes are here at once. Who would have to wait for bytes is an error.
    """

    def __init__(self, folder: Path, pushed: int) -> None:
        super().__init__(str(folder), {0: (str(folder / "0.out"), str(folder / "0.err"))})
        self.pushed = pushed
        self.asked: list[tuple[int, int, int, int]] = []
        self.arrived: set[tuple[int, int, int, int]] = set()

    def arrive(self) -> None:
        """Let all arrive that was asked for."""
        self.arrived.update(self.asked)
        self.asked.clear()

    def _is_here(self, rank: int, stream: int, start: int, count: int) -> bool:
        within = any(
            known[:2] == (rank, stream) and known[2] <= start and start + count <= known[2] + known[3]
            for known in self.arrived
        )
        return within or start >= self.sizes(rank)[stream - STDOUT] - self.pushed

    def is_at_hand(self, rank: int, stream: int, start: int, count: int) -> bool:
        """Tell whether these bytes are here, and ask for them else."""
        is_here = self._is_here(rank, stream, start, count)
        if not is_here:
            self.asked.append((rank, stream, start, count))
        return is_here

    def read(self, rank: int, stream: int, start: int, count: int) -> bytes:
        """Read what is here."""
        assert self._is_here(rank, stream, start, count), f"would wait for {count} bytes at {start}"
        return super().read(rank, stream, start, count)


class Elsewhere:
    """The logs of another machine, as far as paths are concerned: none of those that are told leads to a file here."""

    def __init__(self, there: LogReader, attempt: int) -> None:
        self._there = there
        self.nprocs = there.nprocs
        self.path = f"/on/node7/attempt_{attempt}"
        self.sizes, self.read, self.notes = there.sizes, there.read, there.notes
        self.held_from, self.tail, self.is_at_hand = there.held_from, there.tail, there.is_at_hand

    def place(self, rank: int, stream: int) -> str:
        """Return a path that nobody here can open."""
        return f"{self.path}/{rank}/{'stdout' if stream == STDOUT else 'stderr'}.log"


def logs_of(outs: Sequence[str | Path], errs: Sequence[str | Path]) -> LocalLogs:
    """Return a reader of such files, one of each sort for each rank."""
    files = {rank: (str(out), str(err)) for rank, (out, err) in enumerate(zip(outs, errs, strict=True))}
    return LocalLogs(os.path.dirname(str(outs[0])), files)


def logs_in(folder: Path, nprocs: int) -> LocalLogs:
    """Return a reader of the files ``0.out``, ``0.err``, ``1.out`` and so on in a folder."""
    ranks = range(nprocs)
    return logs_of([folder / f"{rank}.out" for rank in ranks], [folder / f"{rank}.err" for rank in ranks])


def read_log(path: str | Path, last: int | None = None) -> str:
    """Return what a log reads like, or its end."""
    return text_of(RankLog(logs_of([path], [path]), 0, STDOUT), last)


@contextmanager
def following(path: str | Path, overwriting: bool = False) -> Iterator[LogFollower]:
    """Follow a file."""
    with closing(LogFile(path)) as file:
        yield LogFollower(file, overwriting)
