"""`Flag`: an event for threads that an interrupt cannot leave locked."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from nblaunch.interrupts import MAX_WAIT_SLICE

__all__ = ["Flag"]


class Flag:
    """Like `threading.Event`, but a signal handler may raise an exception at any point of `wait`, `set` and `clear`.

    A `threading.Event` takes a lock in Python code. A handler that raises just after that leaves it locked for good,
    and then nobody can set the event any more. Here no two threads share a lock.
    """

    def __init__(self) -> None:
        self._is_set = False
        # one locked lock for each thread that waits
        self._waiting_locks: list[Any] = []

    def is_set(self) -> bool:
        """Tell whether the flag is set."""
        return self._is_set

    def set(self) -> None:
        """Set the flag, and wake the threads that wait for it."""
        self._is_set = True
        for lock in list(self._waiting_locks):
            with contextlib.suppress(RuntimeError):  # another thread has released it just now
                lock.release()

    def clear(self) -> None:
        """Unset the flag."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set, at most `timeout` seconds, and tell whether it is.

        A signal handler runs at once, or after `MAX_WAIT_SLICE` seconds if the signal comes just before the wait.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._wait(timeout)  # Python runs signal handlers in the main thread only
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = MAX_WAIT_SLICE if deadline is None else deadline - time.monotonic()
            if self._wait(min(left, MAX_WAIT_SLICE)):
                return True
            if left <= MAX_WAIT_SLICE and deadline is not None:
                return False

    def _wait(self, timeout: float | None) -> bool:
        lock = threading.Lock()
        lock.acquire()
        try:
            self._waiting_locks.append(lock)
            # The flag is read after the lock is in the list: a `set` that comes later finds the lock there.
            return self._is_set or lock.acquire(timeout=-1 if timeout is None else max(timeout, 0))
        finally:
            with contextlib.suppress(ValueError):
                self._waiting_locks.remove(lock)
