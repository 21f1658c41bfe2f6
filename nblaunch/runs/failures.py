"""What has failed: `RankFailure`, one per rank, and `RanksFailed`, the exception of a failed run."""

from __future__ import annotations

import re
import signal
import sys
import traceback as _traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nblaunch.events import ErrorFile, Stack
from nblaunch.exports import exported_by
from nblaunch.payload import encodable, traceback_of, type_name
from nblaunch.payload.made_frames import leave_users_frames
from nblaunch.processes.errors import ProcessFailure
from nblaunch.runs.failure_text import colours_are_wanted, details, headline, no_line, no_variables
from nblaunch.stacks.dump import FATAL, THREAD, frames_of, has_more_frames, has_more_threads
from nblaunch.stacks.folding import CUT_OFF, frame_text, label_cells, users_frames

if TYPE_CHECKING:
    from nblaunch.runs.run import Run

__all__ = ["CRASHES", "RankFailure", "RankTimeout", "RanksFailed"]

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL})
"""Signals of crashes in C code, at which faulthandler writes the Python stack."""

# The whole text is in the exception and in its traceback.
_MAX_SUMMARY_CHARACTERS = 300
_STACK = re.compile(rf"^{THREAD.pattern}\n", re.MULTILINE)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@exported_by("nblaunch")
class RankTimeout(TimeoutError):
    """A rank was still running when the time allowed for the run was over."""


@exported_by("nblaunch")
@dataclass(repr=False)
class RankFailure(ProcessFailure):
    """Why a rank has no result.

    Parameters
    ----------
    local_rank, pid, exitcode, error_file
        See `nblaunch.processes.ProcessFailure`, as for `message` and `timestamp`.
    rank : int
        Its number.
    exception : BaseException or None
        What it raised: the object itself. None if the process ended without raising anything.
    traceback : str
        Traceback as plain text, with the lines of the cell; empty where there is none.
    collateral : bool
        Whether it was ended because of another rank, or by an interrupt, before it had failed by itself.
    stdout_tail, stderr_tail : str
        The last lines that it wrote; the dump of a crash is in `traceback` instead.
    stack : Stack or None
        Where it was when the first rank failed, if it was still at work then.
    at : float
        `time.monotonic` of the failure, in seconds.
    lingered : str
        Says so if its process did not end after the failure and was killed; else empty.
    """

    rank: int = -1
    exception: BaseException | None = None
    traceback: str = ""
    collateral: bool = False
    stdout_tail: str = ""
    stderr_tail: str = ""
    stack: Stack | None = field(default=None, compare=False)
    at: float = 0.0
    lingered: str = field(default="", compare=False)
    coloured: str = field(default="", compare=False)
    _keeps: Any = field(default=None, compare=False)
    # what its error file holds, which may lie on another machine: it is not read here
    _found: ErrorFile | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        found, self._found = self._found, None
        self._describe(found)

    def summary(self) -> str:
        """Say in one line what happened."""
        text = (str(self.message).splitlines() or [""])[0].removesuffix(": ")
        if not text:
            text = f"exit code {self.exitcode}" if self.exception is None else type_name(self.exception)
        return encodable(text if len(text) <= _MAX_SUMMARY_CHARACTERS else f"{text[:_MAX_SUMMARY_CHARACTERS]}…")

    def same_as(self, other: RankFailure) -> bool:
        """Tell whether another rank failed in the same way: the same type, raised along the same lines."""
        if self.exception is None or other.exception is None:
            return self.exception is other.exception and self.exitcode == other.exitcode
        return _signature(self.exception) == _signature(other.exception)

    def is_timeout(self) -> bool:
        """Tell whether it was still running when the time allowed for the run was over."""
        # asked of its type, because an exception of the user's may claim to be of any class
        return issubclass(type(self.exception), RankTimeout)

    def __repr__(self) -> str:
        collateral = ", collateral" if self.collateral else ""
        return f"RankFailure(rank={self.rank}, {self.summary()}{collateral})"


@exported_by("nblaunch")
class RanksFailed(Exception):
    """At least one rank of a run failed.

    Attributes
    ----------
    run : Run
        The run, with the results of the ranks that finished.
    failures : dict of int to RankFailure
        The same as ``run.failures``.
    root_cause : RankFailure or None
        The failure that came first.

    Examples
    --------
    >>> import nblaunch
    >>> try:
    ...     run = nblaunch.launch("assert rank != 1, 'not me'", 2, check=True)
    ... except nblaunch.RanksFailed as error:
    ...     print(error.root_cause.rank, repr(error.root_cause.exception))
    1 AssertionError('not me')
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.failures: dict[int, RankFailure] = run.failures
        self.root_cause: RankFailure | None = run.root_cause
        first = f"; rank {self.root_cause.rank} first: {self.root_cause.summary()}" if self.root_cause else ""
        before = f"; before that, {'; '.join(run.earlier)}" if run.status == "timed out" and run.earlier else ""
        super().__init__(encodable(headline(run) + first + before))
        if sys.version_info >= (3, 11):
            # a plain interpreter prints notes below the message
            self.add_note(self._text(coloured=False))

    def _render_traceback_(self) -> list[str]:
        # IPython calls this, and shows it instead of the frames of the launcher
        root = self.root_cause
        ranks = None if root is None or root.exception is None else traceback_of(root.exception)
        leave_users_frames(self, no_line(self.run, root), ranks, "" if root is None else no_variables(root))
        return [f"RanksFailed: {self._text(coloured=colours_are_wanted())}"]

    def _text(self, *, coloured: bool) -> str:
        return encodable("\n\n".join([headline(self.run), *details(self.run, coloured)]))


def without_escapes(text: str) -> str:
    """Remove the colours from a text."""
    return _ESCAPES.sub("", text)


def crash_stack(stderr: str, cells: Mapping[str, int]) -> str:
    """Return the Python stack of a crash, down to the cell, from what faulthandler wrote; empty if there is none.

    Parameters
    ----------
    stderr : str
        The end of the rank's stderr.
    cells : mapping of str to int
        Numbers of the notebook's cells by the names of the files that they were compiled under.
    """
    _, found, dump = stderr.rpartition(FATAL)
    stacks = list(_STACK.finditer(dump))
    if not found or not stacks:
        return ""
    headline = f"{FATAL}{dump.splitlines()[0]}, most recent call first"
    crashed = next((stack for stack in stacks if stack["whose"] == "Current thread"), None)
    if crashed is None and has_more_threads(dump):
        return (
            f"{FATAL}{dump.splitlines()[0]} (in a thread that Python does not tell of: it had more than a hundred, and "
            "Python tells of the newest)"
        )
    if crashed is None:
        # the main thread, which is the oldest, comes last
        crashed = stacks[-1]
        headline += " (in a thread that runs no Python code, while the main thread was here)"
    # the stack of the next thread begins behind an empty line
    lines = dump[crashed.end() :].partition("\n\n")[0].splitlines()
    named = label_cells({0: Stack((tuple(frames_of(lines)),), "")}, cells)[0].threads[0]
    cut = has_more_frames(lines)
    shown = [frame_text(frame) for frame in users_frames(named, cut)] + ([CUT_OFF] if cut else [])
    return "\n".join([headline, *(f"  {line}" for line in shown)])


def without_crash_dump(stderr: str) -> str:
    """Return what was written before faulthandler's dump."""
    before, found, _ = stderr.rpartition(FATAL)
    return before.rstrip() if found else stderr


def last_lines(text: str, count: int = 20) -> str:
    """Return the last lines of a text."""
    return "\n".join(text.splitlines()[-count:])


def _signature(error: BaseException) -> tuple[Any, ...]:
    frames = _traceback.extract_tb(traceback_of(error))
    return type_name(error), tuple((frame.filename, frame.lineno) for frame in frames)
