"""How a gang learns where its ranks are: it signals them all at once, and looks for their answers in files.

::

    Gang ─► StackRequests ─► StackRequest ─ signal ─► ranks, see `nblaunch.stacks.dump`
              │                   ◄─ their files, and what /proc tells ─┘
              └─► give(stacks by rank)
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nblaunch.events import Frame, Stack
from nblaunch.logs.files import open_log, size_of
from nblaunch.logs.folders import has_no_room
from nblaunch.processes import _linux
from nblaunch.stacks.dump import HEAD, SIGNAL, SIGNAL_FOR_MAIN, read_answer

__all__ = ["StackRequest", "StackRequests"]

# Seconds that a rank may take to answer. A handler runs as soon as its thread does.
_PATIENCE = 1.0
# Bytes of the first line of the file.
_HEAD_SIZE = 11
# Bytes of the stacks of one rank that are read at one time, and to which its file may grow.
_MAX_STACK_BYTES = 4 << 20

_MASK = re.compile(rb"^(SigBlk|SigCgt|ShdPnd|SigPnd):\s*([0-9a-f]+)$", re.MULTILINE)
_NO_ANSWER = "it did not answer within a second"
_GONE = "the folder with the file for its stacks was removed while it ran"
_FULL = "the disk with the file for its stacks is full"
_NOT_ALLOWED = "it may not be asked: it belongs to another user by now"
_NOT_READY = "it is not ready to answer"
_NATIVE = ": ask for native stacks (py-spy)"
_MAIN_IS_SILENT = f"its main thread blocks the signal that asks for it{_NATIVE}"
_STATES = {
    "T": "it is stopped (SIGSTOP), and answers when it goes on",
    "t": "a debugger holds it, and it answers when it goes on",
    "D": "it hangs in the kernel (state D)",
    "Z": "it has just ended",
}


@dataclass
class _Asked:
    """A rank that has been asked."""

    pid: int
    path: str
    begin: int
    state: str
    others: dict[str, bytes]
    problem: str = ""
    # whether the main thread has written its stack
    first: bool = False
    # whether nothing more will be written
    answered: bool = False
    # the signal that was sent last, the size of the file before that, and the threads that blocked that signal
    signal: int = SIGNAL
    size: int = 0
    blocking: frozenset[str] = frozenset()


class StackRequest:
    """Asks processes for their stacks; the answers come within milliseconds, or not at all.

    Parameters
    ----------
    ranks : mapping of int to (int, str)
        Process id and file of each rank to ask.

    Attributes
    ----------
    deadline : float
        The time of `time.monotonic` until which answers are waited for.
    """

    PERIOD = 0.002
    """Seconds between two looks for answers."""

    def __init__(self, ranks: Mapping[int, tuple[int, str]]) -> None:
        self.deadline: float = time.monotonic() + _PATIENCE
        self._asked = {rank: _ask(pid, path) for rank, (pid, path) in ranks.items()}

    def look(self) -> bool:
        """Look for answers; tell whether nothing is left to wait for."""
        for asked in self._asked.values():
            if not (asked.answered or asked.problem) and _has_answered(asked):
                asked.answered = True
                asked.first = asked.first or asked.signal == SIGNAL_FOR_MAIN
                if asked.signal == SIGNAL_FOR_MAIN and asked.others and _waiting(asked.pid) == asked.others:
                    # only when the handler of the first signal has written, or both would write at once
                    asked.answered = not _send(asked, SIGNAL)
        return time.monotonic() >= self.deadline or all(one.answered or one.problem for one in self._asked.values())

    def stacks(self) -> dict[int, Stack]:
        """Return what there is by now."""
        return {rank: _stack(asked) for rank, asked in self._asked.items()}


@dataclass
class _Open:
    """A request that waits for its answers, and what is done with these."""

    request: StackRequest
    give: Callable[[dict[int, Stack]], None]
    look_at: float
    ending_waits: bool


class StackRequests:
    """The requests of a gang that wait for answers."""

    def __init__(self) -> None:
        self._open: list[_Open] = []

    def ask(
        self, ranks: Mapping[int, tuple[int, str]], give: Callable[[dict[int, Stack]], None], ending_waits: bool
    ) -> None:
        """Ask ranks where they are; `give` gets the answers. With `ending_waits`, the gang ends no rank before."""
        self._open.append(_Open(StackRequest(ranks), give, time.monotonic(), ending_waits))

    @property
    def ending_waits(self) -> bool:
        """Whether ranks are to be ended only when they have answered."""
        return any(one.ending_waits for one in self._open)

    def deadlines(self) -> Iterable[tuple[float, Callable[[], None]]]:
        """Return when to look for answers, and how."""
        return [(one.look_at, partial(self._look, one)) for one in self._open]

    def stopped_for(self, seconds: float) -> None:
        """Take note that the ranks were stopped, with the program, for so long until now."""
        for one in self._open:
            one.request.deadline += seconds
            one.look_at += seconds

    def close(self) -> None:
        """Give the answers that there are: no rank is left that could answer."""
        while self._open:
            one = self._open.pop(0)
            one.give(one.request.stacks())

    def _look(self, one: _Open) -> None:
        if one.request.look():
            self._open.remove(one)
            one.give(one.request.stacks())
        else:
            one.look_at = time.monotonic() + StackRequest.PERIOD


def _ask(pid: int, path: str) -> _Asked:
    if size_of(path) > _MAX_STACK_BYTES:
        with contextlib.suppress(OSError):
            os.truncate(path, _HEAD_SIZE)  # it is opened for appending
    try:
        asked = _Asked(pid, path, size_of(path), _state(pid), _waiting(pid))
    except OSError as error:  # no more descriptors, for example
        return _Asked(pid, path, 0, "", {}, problem=_cannot_be_asked(error))
    if asked.state == "Z":
        asked.problem = _STATES["Z"]
    elif str(pid) not in _threads_that_block(pid, SIGNAL_FOR_MAIN):
        _send(asked, SIGNAL_FOR_MAIN)
    else:
        asked.problem = _why_not(pid, path, SIGNAL_FOR_MAIN) or _MAIN_IS_SILENT
    if asked.state in ("T", "t") and not asked.problem:
        asked.problem = _STATES[asked.state]
    return asked


def _send(asked: _Asked, number: int) -> bool:
    """Send a signal to a rank, if that harms nothing; tell whether it was sent."""
    problem = _why_not(asked.pid, asked.path, number)
    if not problem:
        asked.signal, asked.size = number, size_of(asked.path)
        asked.blocking = _threads_that_block(asked.pid, number)
        try:
            if number == SIGNAL_FOR_MAIN:
                _linux.signal_main_thread(asked.pid, number)
            else:
                os.kill(asked.pid, number)
        except ProcessLookupError:
            problem = _STATES["Z"]
        except PermissionError:
            problem = _NOT_ALLOWED
        except BlockingIOError:  # of signals of this kind, which are kept one by one
            problem = f"the limit of pending signals (ulimit -i) is reached{_NATIVE}"
        except OSError as error:
            problem = _cannot_be_asked(error)
    asked.problem = asked.problem or problem
    return not problem


def _waiting(pid: int) -> dict[str, bytes]:
    """Return how often each thread of a process but the main one was woken; empty if one of them runs.

    If the result is the same twice, none of them has run in between; see `nblaunch.stacks.dump`.
    """
    found = {}
    for thread in _threads(pid):
        if thread == str(pid):
            continue
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/status", "rb", buffering=0) as file:
            status = file.read()
            if b"\nState:\tR" not in status:
                found[thread] = status[status.find(b"\nvoluntary_ctxt_switches") :]
                continue
        return {}
    return found


def _why_not(pid: int, path: str, number: int) -> str:
    """Return why a process must not be sent a signal; empty if it may be."""
    # the signal would end a process that does not handle it: one that is still starting, or has become a program
    if not path or not _masks(f"/proc/{pid}/status").get("SigCgt", 0) & _bit(number):
        return _NOT_READY
    try:
        with open(open_log(path), "rb") as file:
            head = HEAD.fullmatch(file.read(_HEAD_SIZE))
            wanted = os.fstat(file.fileno())
    except FileNotFoundError:
        return _GONE
    except OSError as error:
        return _cannot_be_asked(error)
    if head is None:
        return _FULL if has_no_room(os.path.dirname(path)) else _NOT_READY
    # the user's code may have closed the descriptor and opened another file under its number
    try:
        found = Path(f"/proc/{pid}/fd/{int(head[1])}").stat()
    except PermissionError:
        return _NOT_ALLOWED
    except OSError:
        if _is_exiting(pid):
            return _STATES["Z"]
        return f"its code has closed the file for its stacks, descriptor {int(head[1])}{_NATIVE}"
    if not os.path.samestat(wanted, found):
        return f"its code uses the descriptor of the file for its stacks, {int(head[1])}, for something else{_NATIVE}"
    return ""


def _has_answered(asked: _Asked) -> bool:
    """Tell whether a rank has written its whole answer.

    It has if it has written something, the signal is not pending, and no handler runs. While a handler runs, its thread
    blocks the signal (sigaction(2)), which ``/proc/PID/task/TID/status`` shows.
    """
    if size_of(asked.path) <= asked.size:
        with contextlib.suppress(OSError):
            if _state(asked.pid) == "Z":
                asked.problem = _STATES["Z"]
        return False
    masks = _masks(f"/proc/{asked.pid}/status")
    if (masks.get("ShdPnd", 0) | masks.get("SigPnd", 0)) & _bit(asked.signal):
        return False
    return _threads_that_block(asked.pid, asked.signal) <= asked.blocking


def _cannot_be_asked(error: OSError) -> str:
    return f"it cannot be asked: {error.strerror}"


def _bit(number: int) -> int:
    return 1 << (number - 1)


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _threads_that_block(pid: int, number: int) -> frozenset[str]:
    return frozenset(
        thread
        for thread in _threads(pid)
        if _masks(f"/proc/{pid}/task/{thread}/status").get("SigBlk", 0) & _bit(number)
    )


def _masks(path: str) -> dict[str, int]:
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        return {name.decode(): int(mask, 16) for name, mask in _MASK.findall(file.read())}
    return {}


def _state(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
        return _linux.stat_of(pid)[0].decode()
    return "Z"


def _is_exiting(pid: int) -> bool:
    """Tell whether a process is exiting, and so closes its descriptors: PF_EXITING in the kernel's flags."""
    with contextlib.suppress(OSError, IndexError):
        return bool(int(_linux.stat_of(pid)[6]) & 4)
    return True


def _answer(asked: _Asked) -> str:
    with contextlib.suppress(OSError), open(open_log(asked.path), "rb") as file:
        file.seek(asked.begin)
        return file.read(_MAX_STACK_BYTES).decode(errors="replace")
    return ""


def _stack(asked: _Asked) -> Stack:
    text, problem = _answer(asked), asked.problem
    answer = read_answer(text)
    threads: tuple[tuple[Frame, ...], ...] = ()
    # the stack of the main thread is enough; those of the others may be missing
    if answer.main is not None and (asked.answered or asked.first):
        threads = (answer.main, *(answer.others if asked.answered else ()))
        problem = ""
    if not problem and has_no_room(os.path.dirname(asked.path)) and not (text.endswith("\n") and all(threads)):
        threads, problem = (), _FULL  # the answer may be incomplete
    if not threads and not problem:
        problem = _STATES.get(_state(asked.pid), _NO_ANSWER)
    left_out = max(0, len(_threads(asked.pid)) - len(threads)) if threads else 0
    return Stack(threads, asked.state, problem, left_out=left_out, cut=bool(threads) and answer.cut)
