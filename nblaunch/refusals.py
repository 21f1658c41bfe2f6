"""What the system refuses, and what can be done about it."""

from __future__ import annotations

import errno

__all__ = ["FULL", "explained"]

# Errors of a disk, or a user's share of it, that has no room.
FULL = (errno.ENOSPC, errno.EDQUOT)

_ADVICE = {
    errno.EAGAIN: "the limit of processes is reached, of this user (ulimit -u) or of this container (pids.max): end "
    "other processes, or use fewer ranks",
    errno.ENOMEM: "there is no memory for another process: end other processes, or use fewer ranks",
    errno.EMFILE: "this process may open no more files (ulimit -n): close some, or use fewer ranks",
    errno.ENFILE: "this machine may open no more files: end other processes, or use fewer ranks",
    errno.ENOSPC: "the disk that the logs go to is full: make room, or choose another with log_dir",
}


def explained(refusal: OSError) -> OSError:
    """Return the error with what can be done about it, if that is known."""
    advice = _ADVICE.get(refusal.errno or 0)
    return OSError(refusal.errno, f"{refusal.strerror}: {advice}") if advice else refusal
