"""What the system refuses, and what can be done about it."""

from __future__ import annotations

import errno
import sys
import threading

__all__ = ["FULL", "explained", "start_or_refuse"]

# Errors of a disk, or a user's share of it, that has no room.
FULL = (errno.ENOSPC, errno.EDQUOT)

_ADVICE = {
    errno.EAGAIN: "the limit of processes and threads is reached, of this user (ulimit -u) or of this container "
    "(pids.max): end other processes, or use fewer ranks",
    errno.ENOMEM: "there is no memory for another process: end other processes, or use fewer ranks",
    errno.EMFILE: "this process may open no more files (ulimit -n): close some, or use fewer ranks",
    errno.ENFILE: "this machine may open no more files: end other processes, or use fewer ranks",
    errno.ENOSPC: "the disk that the logs go to is full: make room, or choose another with log_dir",
}


def explained(refusal: OSError) -> OSError:
    """Return the error with what can be done about it, if that is known."""
    advice = _ADVICE.get(refusal.errno or 0)
    return OSError(refusal.errno, f"{refusal.strerror}: {advice}") if advice else refusal


def start_or_refuse(thread: threading.Thread) -> None:
    """Start a thread that is needed.

    Raises
    ------
    BlockingIOError
        If the system refuses it, as it would refuse a process: with what can be done about it. Python itself raises a
        RuntimeError that says neither.
    """
    try:
        thread.start()
    except RuntimeError:
        if sys.is_finalizing():
            raise
        raise explained(OSError(errno.EAGAIN, "the system refused another thread")) from None
