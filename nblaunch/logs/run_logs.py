"""`Logs`: the log files of a run by rank, which are removed with the run if they are temporary."""

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

# Bytes of a log's end that a failure shows; more if the rank has crashed, because Python's faulthandler writes up to
# 100 frames for each of 100 threads.
_TAIL_BYTES = 1 << 14
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
        """The text that the rank has written to its standard output so far."""
        return text_of(self._stdout)

    @property
    def stderr(self) -> str:
        """The text that the rank has written to its standard error so far."""
        return text_of(self._stderr)

    def ends(self, crashed: bool = False) -> tuple[str, str]:
        """Return the ends of stdout and stderr; if the rank has `crashed`, stderr with all that faulthandler wrote."""
        most = _CRASH_BYTES if crashed else _TAIL_BYTES
        return text_of(self._stdout, _TAIL_BYTES), text_of(self._stderr, most)

    def __repr__(self) -> str:
        return f"RankLogs({self.path!r})"


class Logs(Mapping[int, RankLogs]):
    """Log files of a run by rank.

    A temporary folder is removed when nothing refers to the run or one of its failures any more, or when this process
    has ended.

    Attributes
    ----------
    path : str
        Folder with a folder for each rank.
    temporary : bool
        Whether they are in a temporary folder, because no ``log_dir`` was given.
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
        """Mark temporary logs when the run begins: if this process is killed, they are kept for a while."""
        if self.temporary:
            mark(self.root, title)

    def end(self) -> None:
        """Remove the mark, because the run has ended."""
        if self.temporary:
            unmark(self.root)

    def found(self, reader: LogReader) -> None:
        """Read the logs of ranks by this reader from now on."""
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
    # a process that was forked from the notebook must not remove the notebook's folders
    if os.getpid() != folder.owner:
        return
    # In a thread, because removing a directory may take milliseconds, and this is called when the last reference to a
    # run is dropped, maybe in the middle of a cell. No daemon, so that the interpreter waits for it.
    if threading.main_thread().is_alive():
        with contextlib.suppress(RuntimeError):  # no more threads
            threading.Thread(target=folder.remove, name="nblaunch-logs").start()
            return
    folder.remove()
