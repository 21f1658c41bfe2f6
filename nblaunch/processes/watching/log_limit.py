"""`LogLimit`: logs cannot fill the disk.

Ranks write straight to their log files, and nothing stands in between that could stop a flood. So the files are looked
at while they grow, and what lies more than the limit before the end of one is given back to the file system: a hole is
punched, which leaves the size of the file and all offsets in it as they are. Where a file system has no holes the file
is cut, with a note and the last lines that it held at its new beginning.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable

from nblaunch.events import Event
from nblaunch.processes import _linux
from nblaunch.refusals import FULL
from nblaunch.wording import in_words

__all__ = ["LogLimit"]

logger: logging.Logger = logging.getLogger(__name__)

# A hole begins and ends at the borders of blocks; part of a block would be filled with zeros and take its room.
_BLOCK = 4096
# Bytes of the end that a file keeps when it is cut, at most.
_KEPT = 1 << 16
# What a file system says that knows no holes; a sandbox forbids them.
_NO_HOLES = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ENODEV})


class LogLimit:
    """Keeps log files from growing without end; a periodic check of the gang whose ranks write them.

    Parameters
    ----------
    paths : iterable of str
        The files. They need not exist yet; what is no regular file is left alone.
    limit : int
        Bytes at the end of each that are kept, at least 1. Between two looks a file may be longer.
    punch_hole : callable
        See `nblaunch.processes._linux.punch_hole`.
    """

    period: float = 1.0

    def __init__(
        self,
        paths: Iterable[str],
        limit: int,
        punch_hole: Callable[[int, int, int], None] = _linux.punch_hole,
    ) -> None:
        self._limit = limit
        self._punch_hole: Callable[[int, int, int], None] | None = punch_hole
        # how much of each has been released, from its beginning, and has been cut off in all
        self._released = dict.fromkeys(paths, 0)
        self._cut: dict[str, int] = {}

    def stopped_for(self, seconds: float) -> None:
        """Take note that the ranks were stopped, which changes nothing about the size of their logs."""

    def look(self, now: float = 0.0) -> Iterable[Event]:
        """Release what is too much; nothing is told."""
        for path, released in list(self._released.items()):
            try:
                # no link: a rank may put what it likes in the place of its log
                found = os.lstat(path)
                if not stat.S_ISREG(found.st_mode):
                    continue
                if found.st_size < released:  # it was cut by somebody else
                    released = self._released[path] = 0
                if found.st_size - released > self._limit:
                    self._shorten(path)
            except FileNotFoundError:
                continue  # nothing has been written yet, or the folder is gone
            except OSError as error:
                logger.warning("%s is not kept below its limit any more: %s", path, error)
                del self._released[path]
        return ()

    def _shorten(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            released = self._released[path]
            end = (size - self._limit) // _BLOCK * _BLOCK
            if self._punch_hole is None or (end > released and not self._punched(descriptor, released, end)):
                self._cut_off(path, descriptor, size)
            elif end > released:
                self._released[path] = end
        finally:
            os.close(descriptor)

    def _punched(self, descriptor: int, begin: int, end: int) -> bool:
        assert self._punch_hole is not None
        try:
            self._punch_hole(descriptor, begin, end - begin)
        except OSError as error:
            if error.errno not in _NO_HOLES:
                raise
            self._punch_hole = None  # all files of a run lie in one folder
            return False
        return True

    def _cut_off(self, path: str, descriptor: int, size: int) -> None:
        kept = min(_KEPT, self._limit // 4)
        end = os.pread(descriptor, kept, size - kept)
        # whole lines, where there are any
        end = end[end.find(b"\n") + 1 :]
        # What the rank writes between these calls is lost, or stands before the note: nothing can be done about either.
        os.ftruncate(descriptor, 0)
        gone = self._cut[path] = self._cut.get(path, 0) + size - len(end)
        note = (
            f"[… {in_words(gone)} of older output cut off: the log is longer than --max-log, and this file system "
            "cannot release a part of a file …]\n"
        )
        try:
            os.write(descriptor, note.encode() + end)
        except OSError as error:  # the disk is full of other things
            if error.errno not in FULL:
                raise
