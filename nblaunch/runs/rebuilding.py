"""`Rebuilding`: the values that ranks have sent become objects again while other ranks are still at work.

::

    Finished ─► add ─┬─► a thread: unpack ─┬─► values
                     │                     └─► errors, and `refuse`: the rank fails at once
                     └─► values without objects of classes: unpacked at the end

Rebuilding a value may run the user's code, ``__setstate__`` for example. That may take long, fail, or never return, so
it does not run in the thread that watches the ranks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from nblaunch.cell_threads import cell_thread
from nblaunch.events import Finished
from nblaunch.flag import Flag
from nblaunch.messages.work import VALUE
from nblaunch.payload import unpack_named, why

__all__ = ["Rebuilding", "Unbuilt"]

# The pickle opcode that looks up a class or function. Without one, only texts, numbers and containers are built.
_STACK_GLOBAL = 0x93

# Added if the error is torch's about process groups, whatever object raised it.
_RANKS_ONLY = "Process groups are in ranks only: return what it has in it, such as numbers, tensors or a state_dict"


class Unbuilt(NamedTuple):
    """A value that could not be rebuilt: what was raised, the same in words, and when the value had been sent."""

    error: BaseException
    why: str
    sent_at: float


class Rebuilding:
    """The values of one attempt.

    Parameters
    ----------
    names : iterable of str
        The variables that come beside each rank's value.
    refuse : callable
        Called as soon as a value cannot be rebuilt, with the rank, the reason, and when the value was sent.

    Attributes
    ----------
    values : dict of int to dict of str to object
        What each rank has sent by name, its value as `VALUE`, once that is rebuilt.
    errors : dict of int to Unbuilt
        Why the values of other ranks could not be rebuilt.
    """

    def __init__(self, names: Iterable[str], refuse: Callable[[int, str, float], None]) -> None:
        self.values: dict[int, dict[str, Any]] = {}
        self.errors: dict[int, Unbuilt] = {}
        self._names = (VALUE, *names)
        self._refuse: Callable[[int, str, float], None] | None = refuse
        self._plain: deque[Finished] = deque()
        self._waiting: deque[Finished] = deque()
        self._lock = threading.Lock()
        # held during each call of `refuse`, so that none is under way once `tell_nobody` has returned
        self._telling = threading.Lock()
        self._thread: threading.Thread | None = None
        self._idle = Flag()
        self._idle.set()
        self._done = 0
        self._closed = False

    def add(self, report: Finished) -> None:
        """Take what a rank has sent; never blocks, and starts a thread if rebuilding it may run code."""
        if isinstance(report.body, bytearray) and _STACK_GLOBAL not in report.body:
            self._plain.append(report)
            return
        with self._lock:
            self._waiting.append(report)
            if not self._idle.is_set():
                return  # the thread is at work
            self._thread = thread = cell_thread("nblaunch-values", self._work)
            self._idle.clear()
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads: `finish` does the work
            with self._lock:
                self._thread = None
                self._idle.set()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._idle.set()
                    return
                report = self._waiting.popleft()
            self._rebuild(report)
            # free its memory before the next one is rebuilt
            del report

    def _rebuild(self, report: Finished) -> None:
        try:
            body = unpack_named(report.body)
            body = {name: body[name] for name in self._names}
        except BaseException as error:  # whatever a user's object does when it is rebuilt
            text = f"the value of rank {report.rank} arrived but cannot be rebuilt in the notebook: {why(error)}"
            if "process group" in text:
                text = f"{text.rstrip('.')}. {_RANKS_ONLY}"
            with self._lock:
                if not self._closed:
                    self.errors[report.rank] = Unbuilt(error, text, report.at)
                self._done += 1
            with self._telling:
                if self._refuse is not None:
                    self._refuse(report.rank, text, report.at)
            return
        with self._lock:
            if not self._closed:
                self.values[report.rank] = body
            self._done += 1

    def finish(self) -> None:
        """Rebuild what the thread does not, and return when everything is rebuilt, however long that takes."""
        while self._plain:
            self._rebuild(self._plain.popleft())
        self._idle.wait()
        thread = self._thread
        if thread is not None:
            thread.join()  # it has nothing left to do
        while self._waiting:
            self._rebuild(self._waiting.popleft())

    def hangs(self, seconds: float) -> bool:
        """Wait until the thread has rebuilt everything; tell whether one value has taken longer than this instead."""
        done = -1
        while done != self._done:
            done = self._done
            if self._idle.wait(seconds):
                return False
        return True

    def tell_nobody(self) -> None:
        """Call `refuse` no more: the ranks of this attempt are gone."""
        with self._telling:
            self._refuse = None

    def close(self) -> None:
        """Keep no value that is rebuilt from now on, and call `refuse` no more."""
        self.tell_nobody()
        with self._lock:
            self._closed = True

    def drop(self) -> None:
        """Drop all values, and those that are being rebuilt."""
        self.close()
        with self._lock:
            self.values.clear()
            self._plain.clear()
            self._waiting.clear()
