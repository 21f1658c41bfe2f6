"""Where ranks are just now: a signal has each write the stacks of its threads into a file of its own.

::

    gang ─ signal to the main thread ─► rank: Python's faulthandler writes, in a C signal handler ─► file ─► `Stack`
                another one, if all other threads wait: all of them ───────────────────────────────────►

The handler needs no interpreter lock and runs no Python code, so it answers while C code holds that lock, which is
where ranks hang. A rank that only waits goes on waiting: system calls are restarted by the kernel or, those that are
not (poll and sleep, signal(7)), by Python; C code of others may see them interrupted.

A thread that tells of itself does no harm. But faulthandler follows the frames of other threads without any lock, and
a process in which one of them starts, ends or calls just then may crash: it is not asked for those of threads that run.
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
    "is_cut",
    "is_cut_off",
    "read_answer",
]

FATAL = "Fatal Python error: "
"""Begins what faulthandler writes when the process crashes."""

THREAD = re.compile(r"(?P<whose>Current thread|Thread) 0x[0-9a-f]+ ?(?:\[.*\] )?\(most recent call first\):")
"""The line before the frames of each thread, for `fullmatch`; whose it is when the process has crashed."""

# Two that hardly anybody uses for anything else; the one above them is for the death of the parent.
SIGNAL = signal.SIGRTMAX - 1
"""Asks a process for the stacks of all its threads."""

SIGNAL_FOR_MAIN = signal.SIGRTMAX - 2
"""Asks a thread for its own stack alone. Of all threads Python tells the newest hundred; the main one is the oldest."""

_ALONE = "Stack (most recent call first):"
_REST = "  ..."
_FEWEST_OF_A_CUT = 100 if sys.version_info < (3, 14) else 50
# What a stack that is complete ends with: a thread, and a program that was started by its module's name or its file's.
_BOTTOM_OF_A_THREAD = ("_bootstrap", "threading.py")
_BOTTOM_OF_A_MODULE = ("_run_module_as_main", "<frozen runpy>")
_BOTTOM_OF_A_PROGRAM = "<module>"
# And what is in every one of a rank's main thread, whose program came from no file: what calls the rank's function.
_CALLS_A_RANK = ("_call", os.path.join("nblaunch", "processes", "child", "rank_process.py"))

HEAD = re.compile(rb" *(\d+)\n")
"""The first line of the file: the descriptor to write to, so that others can see whether it still is this file."""

# Programs close the low descriptors without asking what they are; this one must not become another file of theirs. Not
# higher, because the system keeps a table of all descriptors up to the highest, and copies it when it forks.
_OUT_OF_REACH = 1023

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+|\?\?\?) in (?P<name>.+)$')


def answer_with_stacks(path: str) -> None:
    """Have this process write the stacks of its threads to a file whenever it is asked; without one, nothing happens.

    Parameters
    ----------
    path : str
        The file; an empty string is none.
    """
    if not path:
        return
    descriptor = _moved_up(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600))
    with contextlib.suppress(OSError):  # a full disk; nobody will ask then
        os.write(descriptor, b"%10d\n" % descriptor)
    faulthandler.register(SIGNAL, file=descriptor, all_threads=True)
    faulthandler.register(SIGNAL_FOR_MAIN, file=descriptor, all_threads=False)


def _moved_up(descriptor: int) -> int:
    """Move a descriptor to the highest free number that is out of reach, and not beyond it if that can be."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    highest = _OUT_OF_REACH if limit == resource.RLIM_INFINITY else min(_OUT_OF_REACH, limit - 1)
    for number in range(highest, descriptor, -1):
        with contextlib.suppress(OSError):  # it is in use, and so are all above it that there may be
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, number)
            os.close(descriptor)
            return moved
    return descriptor


@dataclass(frozen=True)
class Answer:
    """What a process has written of its threads.

    Parameters
    ----------
    main : tuple of Frame or None
        The frames of the main thread, the innermost first.
    cut : bool
        Whether there are more of them, further out.
    others : tuple of tuple of Frame
        Those of other threads.
    """

    main: tuple[Frame, ...] | None
    cut: bool
    others: tuple[tuple[Frame, ...], ...]


def read_answer(text: str) -> Answer:
    """Read what a process has written of its threads."""
    alone: list[list[str]] = []
    threads: list[list[str]] = []
    lines: list[str] = []
    for line in text.splitlines():
        if line == _ALONE or THREAD.fullmatch(line):
            (alone if line == _ALONE else threads).append(lines := [])
        else:
            lines.append(line)
    if threads and not is_cut(text):
        # the main one was the first one, and is written last
        alone.append(threads.pop())
    others = tuple(tuple(frames_of(part)) for part in reversed(threads))
    return Answer(tuple(frames_of(alone[0])), is_cut_off(alone[0]), others) if alone else Answer(None, False, others)


def is_cut_off(lines: list[str]) -> bool:
    """Tell whether there were more frames, further out, than those in lines of faulthandler."""
    if _REST in lines:
        return True
    if sys.version_info < (3, 13):
        return False
    # It does not say so any more. A hundred are counted, but from 3.14 on those that C code begins with are left out:
    # at least every other one is.
    frames = frames_of(lines)
    return len(frames) >= _FEWEST_OF_A_CUT and not _is_complete(frames)


def _is_complete(frames: list[Frame]) -> bool:
    outermost = frames[-1]
    if outermost.function == _BOTTOM_OF_A_PROGRAM:
        # what `exec` and `eval` run is called a module too, wherever it is in the stack
        complete = not outermost.file.startswith("<")
    else:
        complete = any(_is(outermost, *bottom) for bottom in (_BOTTOM_OF_A_THREAD, _BOTTOM_OF_A_MODULE))
    return complete or any(_is(frame, *_CALLS_A_RANK) for frame in frames)


def _is(frame: Frame, function: str, file: str) -> bool:
    return frame.function == function and frame.file.endswith(file)


def is_cut(text: str) -> bool:
    """Tell whether there were more threads than those in a text of faulthandler."""
    return "\n...\n" in text


def frames_of(lines: list[str]) -> list[Frame]:
    """Return the frames that lines of faulthandler tell of, the innermost first, as they do."""
    matches = (_FRAME.match(line) for line in lines)
    return [
        Frame(unescaped(match["file"]), int(match["line"]) if match["line"].isdigit() else 0, unescaped(match["name"]))
        for match in matches
        if match is not None
    ]
