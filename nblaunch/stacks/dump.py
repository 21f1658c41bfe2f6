"""Stacks of running ranks: on a signal, each rank writes the stacks of its threads to a file of its own.

::

    gang ─ SIGNAL_FOR_MAIN ─► rank: faulthandler, in a C signal handler, writes its main thread ─► file ─► Answer
         ─ SIGNAL, if all its other threads wait ─► the same for all its threads ───────────────►

The handler needs no interpreter lock and runs no Python code. So it answers while C code holds that lock, which is
where ranks hang. A rank that waits goes on waiting: the Linux kernel restarts its system calls, and Python restarts
those that the kernel does not (poll and sleep, see signal(7)). In C code, such a call may end with EINTR.

A thread that writes its own stack does no harm. But faulthandler reads the frames of other threads without any lock,
and the process may crash if one of them starts, ends or calls a function just then. So `SIGNAL` is not sent while other
threads run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import re
import resource
import signal
import sys
from dataclasses import dataclass

from nblaunch.events import Frame
from nblaunch.stacks.escaped_names import unescaped

__all__ = [
    "FATAL",
    "HEAD",
    "SIGNAL",
    "SIGNAL_FOR_MAIN",
    "THREAD",
    "Answer",
    "answer_with_stacks",
    "frames_of",
    "has_more_frames",
    "has_more_threads",
    "read_answer",
]

FATAL = "Fatal Python error: "
"""The beginning of what faulthandler writes when a process crashes."""

THREAD = re.compile(r"(?P<whose>Current thread|Thread) 0x[0-9a-f]+ ?(?:\[.*\] )?\(most recent call first\):")
"""The line before the frames of each thread, for `fullmatch`. "Current thread" is the one that has crashed."""

# Hardly any program uses these signals. `nblaunch.processes` has the one above them announce the death of the parent.
SIGNAL = signal.SIGRTMAX - 1
"""Asks a process for the stacks of all its threads."""

SIGNAL_FOR_MAIN = signal.SIGRTMAX - 2
"""Asks a thread for its own stack alone. `SIGNAL` may miss the main thread: faulthandler writes the newest hundred."""

_OWN_STACK_HEADER = "Stack (most recent call first):"
_MORE_FRAMES = "  ..."
_MIN_FRAMES_OF_A_CUT = 100 if sys.version_info < (3, 14) else 50
# The outermost frame of a complete stack: of a thread, of a program started by a module's name, and by a file's.
_BOTTOM_OF_A_THREAD = ("_bootstrap", "threading.py")
_BOTTOM_OF_A_MODULE = ("_run_module_as_main", "<frozen runpy>")
_BOTTOM_OF_A_PROGRAM = "<module>"
# A rank's program comes from no file. In each complete stack of its main thread, this calls the rank's function.
_CALLS_A_RANK = ("_call", os.path.join("nblaunch", "processes", "child", "rank_process.py"))

HEAD = re.compile(rb" *(\d+)\n")
"""The first line of the file: the rank's descriptor, by which others can check that it still leads to this file."""

# Some programs close all low descriptors and use the numbers again, so this one is high. It is not higher, because the
# system keeps a table of all descriptors up to the highest, and copies it at each fork.
_HIGH_DESCRIPTOR = 1023

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+|\?\?\?) in (?P<name>.+)$')


def answer_with_stacks(path: str) -> None:
    """Have this process write the stacks of its threads to a file on `SIGNAL` and `SIGNAL_FOR_MAIN`.

    Parameters
    ----------
    path : str
        The file. Nothing is done if it is empty.
    """
    if not path:
        return
    descriptor = _moved_up(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600))
    with contextlib.suppress(OSError):  # the disk is full; without this line, the gang asks for no stacks
        os.write(descriptor, b"%10d\n" % descriptor)
    faulthandler.register(SIGNAL, file=descriptor, all_threads=True)
    faulthandler.register(SIGNAL_FOR_MAIN, file=descriptor, all_threads=False)


def _moved_up(descriptor: int) -> int:
    """Move a descriptor to a free number as near to `_HIGH_DESCRIPTOR` as the limit of this process allows."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    highest = _HIGH_DESCRIPTOR if limit == resource.RLIM_INFINITY else min(_HIGH_DESCRIPTOR, limit - 1)
    for number in range(highest, descriptor, -1):
        with contextlib.suppress(OSError):  # this number and all above it are in use
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, number)
            os.close(descriptor)
            return moved
    return descriptor


@dataclass(frozen=True)
class Answer:
    """The stacks that a process has written.

    Parameters
    ----------
    main : tuple of Frame or None
        The frames of the main thread, the innermost first.
    cut : bool
        Whether outer frames of the main thread are missing.
    others : tuple of tuple of Frame
        The frames of each other thread.
    """

    main: tuple[Frame, ...] | None
    cut: bool
    others: tuple[tuple[Frame, ...], ...]


def read_answer(text: str) -> Answer:
    """Parse the stacks that a process has written."""
    alone: list[list[str]] = []
    threads: list[list[str]] = []
    lines: list[str] = []
    for line in text.splitlines():
        if line == _OWN_STACK_HEADER or THREAD.fullmatch(line):
            (alone if line == _OWN_STACK_HEADER else threads).append(lines := [])
        else:
            lines.append(line)
    if threads and not has_more_threads(text):
        # faulthandler writes the oldest thread last, which is the main one
        alone.append(threads.pop())
    others = tuple(tuple(frames_of(part)) for part in reversed(threads))
    main = alone[0] if alone else []
    return Answer(tuple(frames_of(main)) if alone else None, has_more_frames(main), others)


def has_more_frames(lines: list[str]) -> bool:
    """Tell whether faulthandler has left outer frames out of the lines of a stack."""
    if _MORE_FRAMES in lines:
        return True
    if sys.version_info < (3, 13):
        return False
    # From 3.13 on, faulthandler stops after a hundred frames without a mark. From 3.14 on it counts the entry frames of
    # C code, but does not write them. At most every other frame is one.
    frames = frames_of(lines)
    return len(frames) >= _MIN_FRAMES_OF_A_CUT and not _is_complete(frames)


def _is_complete(frames: list[Frame]) -> bool:
    outermost = frames[-1]
    if outermost.function == _BOTTOM_OF_A_PROGRAM:
        # the frames of `exec` and `eval` are called "<module>" too, wherever they are in the stack
        complete = not outermost.file.startswith("<")
    else:
        complete = any(_is(outermost, *bottom) for bottom in (_BOTTOM_OF_A_THREAD, _BOTTOM_OF_A_MODULE))
    return complete or any(_is(frame, *_CALLS_A_RANK) for frame in frames)


def _is(frame: Frame, function: str, file: str) -> bool:
    return frame.function == function and frame.file.endswith(file)


def has_more_threads(text: str) -> bool:
    """Tell whether faulthandler has left threads out of its text."""
    return "\n...\n" in text


def frames_of(lines: list[str]) -> list[Frame]:
    """Return the frames in lines of faulthandler, the innermost first."""
    matches = (_FRAME.match(line) for line in lines)
    return [
        Frame(unescaped(match["file"]), int(match["line"]) if match["line"].isdigit() else 0, unescaped(match["name"]))
        for match in matches
        if match is not None
    ]
