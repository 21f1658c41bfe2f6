"""Showing the log files of several ranks on one stream, while they are written.

Ranks write to their own files; `TailLog` follows these files in one thread and copies whole lines, each
behind the prefix of its rank, to a destination such as ``sys.stdout``. The files stay complete whatever
happens to the destination: a broken pipe, a full disk or a closed stream costs the copy, never the rank.
"""

from __future__ import annotations

import atexit
import logging
from contextlib import ExitStack
from threading import Event, Thread, current_thread
from typing import TYPE_CHECKING, TextIO

from nblaunch.cell_threads import cell_thread
from nblaunch.logs.files import LogFile
from nblaunch.logs.following import READ_LIMIT, LogFollower
from nblaunch.refusals import start_or_refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["TailLog", "tail_logfile"]

logger: logging.Logger = logging.getLogger(__name__)


def _every_line(line: str) -> bool:
    return True


def tail_logfile(
    header: str,
    file: str,
    dst: TextIO,
    finished: Event,
    interval_sec: float,
    log_line_filter: Callable[[str], bool] | None = None,
) -> None:
    r"""Copy the lines of one file to `dst` until `finished` is set, then what is left, then return.

    Parameters
    ----------
    header : str
        Put in front of every line.
    file : str
        The file to follow. It need not exist yet.
    dst : text stream
        Gets whole lines only, and is flushed behind them. When it fails, that is logged once; nothing is
        raised.
    finished : threading.Event
        Set it when the file's writer has ended.
    interval_sec : float
        Seconds between two looks at the file.
    log_line_filter : callable, optional
        Called with each line, its ``"\n"`` included; only lines for which it is true are copied. Without one no line
        is, as with torch's function of this name.
    """
    _tail([_Source(header, file, log_line_filter)], dst, finished, interval_sec)


class TailLog:
    r"""Copies the growing log files of several ranks to one stream.

    The files need not exist when tailing starts. Lines of one file keep their order; between files, lines
    come in the order in which they were found.

    Parameters
    ----------
    name : str
        Lines of rank *k* are prefixed with ``[{name}{k}]:``.
    log_files : mapping of int to str
        The log file of each local rank.
    dst : text stream, optional
        Where the lines go; ``None``, which is what ``sys.stdout`` is without a console, shows nothing.
    log_line_prefixes : mapping of int to str, optional
        Other prefixes for some or all ranks.
    interval_sec : float, optional
        Seconds between two looks at the files.
    log_line_filter : callable, optional
        Called with each line, its ``"\n"`` included and without prefix; only lines for which it is true are
        copied. By default it is true of all lines; None copies no line.

    Examples
    --------
    >>> import os, sys, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "stdout.log")
    >>> tail = TailLog("trainer", {0: path}, sys.stdout).start()
    >>> with open(path, "w") as rank:
    ...     _ = rank.write("epoch 1\n")
    >>> tail.stop()
    [trainer0]:epoch 1
    """

    def __init__(
        self,
        name: str,
        log_files: Mapping[int, str],
        dst: TextIO | None,
        log_line_prefixes: Mapping[int, str] | None = None,
        interval_sec: float = 0.1,
        log_line_filter: Callable[[str], bool] | None = _every_line,
    ) -> None:
        prefixes = log_line_prefixes or {}
        self._sources = [
            _Source(prefixes.get(rank, f"[{name}{rank}]:"), file, log_line_filter) for rank, file in log_files.items()
        ]
        self._name = name
        self._dst = dst
        self._interval_sec = interval_sec
        self._finished = Event()
        self._thread: Thread | None = None

    def start(self) -> TailLog:
        """Begin to follow the files, in a thread of its own; return this object."""
        if self._thread is None and not self._finished.is_set() and self._sources and self._dst is not None:
            name = f"{type(self).__qualname__}_{self._name}"
            self._thread = cell_thread(name, _tail, self._sources, self._dst, self._finished, self._interval_sec)
            start_or_refuse(self._thread)
            # A daemon thread does not keep the interpreter alive, but must not print while it is taken down.
            atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Copy what has been written up to now, an unended last line too, and end; harmless when repeated."""
        self._finished.set()
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join()
            atexit.unregister(self.stop)

    def stopped(self) -> bool:
        """Return whether `stop` has been called."""
        return self._finished.is_set()


class _Source:
    """One followed file, with what to put in front of its lines and which of them to drop."""

    def __init__(self, header: str, file: str, wanted: Callable[[str], bool] | None) -> None:
        self.header = header
        self.file = LogFile(file)
        self.follower = LogFollower(self.file)
        self.wanted = wanted
        self.reading_failed = False

    def read(self, final: bool = False) -> str:
        """Return the new lines as they are to be written."""
        lines = (f"{line}\n" for line in self.follower.read(final))
        return "".join(f"{self.header}{line}" for line in lines if self.wanted is not None and self.wanted(line))


def _tail(sources: Sequence[_Source], dst: TextIO, finished: Event, interval_sec: float) -> None:
    """Copy lines until `finished`, and then the rest of each file as it was at that moment."""
    copier = _Copier(dst)
    with ExitStack() as stack:
        for source in sources:
            stack.callback(source.file.close)
        while not finished.is_set():
            # A file of which there is more than one read took is not left alone for an interval.
            more = [copier.copy(source) >= READ_LIMIT for source in sources]
            if not any(more):
                finished.wait(interval_sec)
        for source in sources:
            copier.copy_rest(source)


class _Copier:
    """Writes batches of lines to one destination and reports the first that fails.

    A batch is one call of ``write``, so that lines of other threads can come between batches but not into a
    line.
    """

    def __init__(self, dst: TextIO) -> None:
        self._dst = dst
        self._failed = False

    def copy(self, source: _Source, final: bool = False) -> int:
        """Copy what is new and return how many bytes of the file that took."""
        before = source.follower.offset
        if source.reading_failed:
            return 0
        try:
            batch = source.read(final)
        except Exception:
            # Reading can fail for reasons of the disk, and the filter is the user's code: neither may end the
            # thread, which serves other files too.
            source.reading_failed = True
            logger.exception(
                "%s is not shown any further, because reading or filtering its lines failed. "
                "The file itself is complete: read it there.",
                source.file.path,
            )
            return 0
        if batch:
            self._write(batch, source.file.path)
        return source.follower.offset - before

    def copy_rest(self, source: _Source) -> None:
        """Copy to the end of the file, in bounded steps; what is appended meanwhile does not count."""
        try:
            end = source.follower.offset + source.follower.unread()
        except OSError:
            end = 0  # `copy` meets the same error and reports it
        while source.follower.offset < end and self.copy(source):
            pass
        self.copy(source, final=True)

    def _write(self, batch: str, path: str) -> None:
        try:
            self._dst.write(batch)
            self._dst.flush()
        except Exception:
            # Any object can stand for a stream. Later batches are still tried, because a full disk can empty.
            if not self._failed:
                self._failed = True
                logger.exception(
                    "Lines of %s, perhaps of other logs too, are missing on %r, because writing to it "
                    "failed; this is said once. The log file itself is complete: read it there.",
                    path,
                    self._dst,
                )
