"""Errors of a system that refuses a process, a thread, a file or disk space, with advice on what to do."""

from __future__ import annotations

import errno
import sys
import threading

__all__ = ["FULL", "explained", "start_or_refuse"]

# Error numbers of a full disk, and of a user's quota that is used up.
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
    """Return the error with advice on what to do, if there is any."""
    advice = _ADVICE.get(refusal.errno or 0)
    return OSError(refusal.errno, f"{refusal.strerror}: {advice}") if advice else refusal


def start_or_refuse(thread: threading.Thread) -> None:
    """Start a thread; if the system refuses it, raise an error with advice.

    Raises
    ------
    BlockingIOError
        If the system refuses the thread: the error that it gives for a process. Python's own RuntimeError has no
        reason and no advice.
    """
    try:
        thread.start()
    except RuntimeError:
        if sys.is_finalizing():
            raise
        raise explained(OSError(errno.EAGAIN, "the system refused another thread")) from None
