"""Log files of a run: `Logs`, by rank, and how long they are kept."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Mapping

from nblaunch.logs.files import text_of
from nblaunch.logs.folders import Folder, make_folder
from nblaunch.logs.kept import mark, unmark
from nblaunch.logs.reader import STDERR, STDOUT, LogReader, RankLog

__all__ = ["Logs", "RankLogs"]

_TAIL_BYTES = 1 << 14
# Python's faulthandler shows 100 threads with 100 frames each.
_CRASH_BYTES = 1 << 21


class RankLogs:
    """Log files of one rank.

    Attributes
    ----------
    path : str
        Folder of the rank's files.
    """

    def __init__(self, reader: LogReader, rank: int) -> None:
        self.path: str = os.path.dirname(reader.place(rank, STDOUT))
        self._stdout = RankLog(reader, rank, STDOUT)
        self._stderr = RankLog(reader, rank, STDERR)

    @property
    def stdout(self) -> str:
        """All that the rank has written to its standard output so far."""
        return text_of(self._stdout)

    @property
    def stderr(self) -> str:
        """All that the rank has written to its standard error so far."""
        return text_of(self._stderr)

    def ends(self, crashed: bool = False) -> tuple[str, str]:
        """Return the last few kilobytes of both; of the second, if the rank `crashed`, all that Python said of it."""
        most = _CRASH_BYTES if crashed else _TAIL_BYTES
        return text_of(self._stdout, _TAIL_BYTES), text_of(self._stderr, most)

    def __repr__(self) -> str:
        return f"RankLogs({self.path!r})"


class Logs(Mapping[int, RankLogs]):
    """Log files of a run by rank.

    A temporary folder goes when nothing refers to the run or to one of its failures any more, or when the process
    that holds them has ended, however that was.

    Attributes
    ----------
    path : str
        Folder that holds a folder for each rank.
    temporary : bool
        Whether nobody has named a place for them.
    """

    def __init__(self, log_dir: str | None) -> None:
        self.path: str = ""
        self._ranks: dict[int, RankLogs] = {}
        self.temporary: bool = log_dir is None
        if log_dir is None:
            folder = make_folder()
            self.root: str = folder.path
            self._finalizer = weakref.finalize(self, _discard, folder)
        else:
            try:
                self.root = os.path.abspath(log_dir)
            except FileNotFoundError:
                raise FileNotFoundError(
                    f"log_dir {log_dir!r} is a folder below the working directory, which was removed: os.chdir() to "
                    "one that exists, then launch again"
                ) from None
            try:
                os.makedirs(self.root, exist_ok=True)
            except OSError as error:
                raise ValueError(
                    f"log_dir {log_dir!r} cannot be made: {error.strerror}; name a folder that you may write to"
                ) from error

    def begin(self, title: str) -> None:
        """Take note that the run goes on: if this process is killed, its temporary logs are kept for a while."""
        if self.temporary:
            mark(self.root, title)

    def end(self) -> None:
        """Take note that the run has ended."""
        if self.temporary:
            unmark(self.root)

    def found(self, reader: LogReader) -> None:
        """Take note of who reads them."""
        self.path = reader.path
        self._ranks = {rank: RankLogs(reader, rank) for rank in range(reader.nprocs)}

    def __getitem__(self, rank: int) -> RankLogs:
        return self._ranks[rank]

    def __iter__(self) -> Iterator[int]:
        return iter(self._ranks)

    def __len__(self) -> int:
        return len(self._ranks)

    def __repr__(self) -> str:
        return f"Logs({self.path!r})"


def _discard(folder: Folder) -> None:
    # a process that was forked from the notebook must not tidy up for it
    if os.getpid() != folder.owner:
        return
    # In a thread, because a disk may take milliseconds to remove one directory, and this comes whenever the last
    # reference to a run goes: in the middle of a cell. No daemon, so that the interpreter waits for it.
    if threading.main_thread().is_alive():
        with contextlib.suppress(RuntimeError):  # no more threads
            threading.Thread(target=folder.remove, name="nblaunch-logs").start()
            return
    folder.remove()
