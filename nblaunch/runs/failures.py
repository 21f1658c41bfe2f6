"""How the failure of ranks reads: `RankFailure`, one per rank, and `RanksFailed`, the exception of a failed run."""

from __future__ import annotations

import re
import signal
import sys
import traceback as _traceback
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any

from nblaunch.events import ErrorFile, Stack
from nblaunch.exports import exported_by
from nblaunch.payload import encodable, shortened, traceback_of, type_name
from nblaunch.payload.made_frames import leave_users_frames
from nblaunch.processes.errors import ProcessFailure
from nblaunch.stacks.dump import FATAL, THREAD, frames_of, is_cut, is_cut_off
from nblaunch.stacks.folding import CUT_OFF, Stacks, frame_text, label_cells, users_frames
from nblaunch.wording import count_ranks, name_ranks

if TYPE_CHECKING:
    from nblaunch.runs.run import Run

__all__ = ["CRASHES", "RankFailure", "RankTimeout", "RanksFailed"]

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL})
"""Signals of crashes below Python, of which it says where it was."""

# Characters; the whole text is in the exception and in its traceback.
_MAX_SUMMARY_CHARACTERS = 300
# Characters of a traceback that a panel is told, at its beginning and at its end.
_TRACEBACK_ENDS = 20_000
# Ranks that failed at the same line with another text, before they are only counted.
_SHOWN_ALIKE = 6
_PDB = "A debugger in the rank itself, at the line where it raises, comes with --pdb (pdb=True)"
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
        What it raised: the object itself, to be raised again or looked into. None if the process ended without one.
    traceback : str
        Traceback as plain text, with the lines of the cell; empty where there is none.
    collateral : bool
        Whether it was ended because of another rank, or by an interrupt, before it had failed by itself.
    stdout_tail, stderr_tail : str
        The last lines that it wrote, without the dump of a crash, which `traceback` holds.
    stack : Stack or None
        Where it was when the first rank failed, if it was still at work then.
    at : float
        `time.monotonic` of the failure, in seconds.
    lingered : str
        Says so if its process did not end after the failure and was killed; else empty.
    found : ErrorFile or None
        What its error file holds, which may lie on another machine: it is not read here.
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
    found: InitVar[ErrorFile | None] = None

    def __post_init__(self, found: ErrorFile | None) -> None:
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
        # by its type: the exception of a rank may say anything of its own class
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
        super().__init__(encodable(_headline(run) + first + before))
        if sys.version_info >= (3, 11):
            # a plain interpreter prints notes below the message
            self.add_note(self._text(coloured=False))

    def _render_traceback_(self) -> list[str]:
        # IPython shows this instead of the frames of the launcher, which say nothing about the ranks
        root = self.root_cause
        ranks = None if root is None or root.exception is None else traceback_of(root.exception)
        leave_users_frames(self, _no_line(self.run, root), ranks, "" if root is None else _no_variables(root))
        return [f"RanksFailed: {self._text(coloured=_colours_are_wanted())}"]

    def _text(self, *, coloured: bool) -> str:
        return encodable("\n\n".join([_headline(self.run), *_details(self.run, coloured)]))


def _no_line(run: Run, root: RankFailure | None) -> str:
    what = _headline(run) if root is None else f"rank {root.rank}: {root.summary()}"
    return f"There is no line of a rank to look at ({what}). {_PDB}"


def _no_variables(root: RankFailure) -> str:
    return f"the variables of rank {root.rank} have ended with it. {_PDB}"


def failure_in_words(run: Run, title: str, bound: str = "") -> str:
    """Say what a run has failed of, as its exception would, where nobody waits whom that could reach.

    Returns an empty text if no rank has failed by itself: one that was ended by order is no news.

    Parameters
    ----------
    title : str
        What has run.
    bound : str
        The variables that hold what came of it.
    """
    if run.defect:
        return encodable(f"{title}: {run.defect}")
    if run.status not in ("failed", "timed out") and run.root_cause is None:
        return ""
    see = f" (see {bound})" if bound else ""
    coloured = _shell() is not None and _colours_are_wanted()
    return encodable("\n\n".join([f"{title}: {run.summary()}{see}", *_details(run, coloured)]))


def _details(run: Run, coloured: bool) -> list[str]:
    root = run.root_cause
    parts = _others(run)
    if run.refused:
        parts.append(f"{run.refused[0].upper()}{run.refused[1:]}")
    parts.append(_where_the_others_were(run))
    if run.earlier:
        parts.append("\n".join(["What had failed before:", *(f"  {line}" for line in run.earlier)]))
    if not run.logs.temporary:
        parts.append(f"Logs: {run.logs.path}")
    # last, because pytest and many a log show the last line only
    parts.append("" if root is None else _root_text(root, coloured))
    return [part for part in parts if part]


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def _colours_are_wanted() -> bool:
    return str(getattr(_shell(), "colors", "")).lower() != "nocolor"


def _headline(run: Run) -> str:
    failed = [failure for failure in run.failures.values() if not failure.collateral]
    total = count_ranks(run.nprocs)
    if run.status == "timed out":
        late = sum(isinstance(failure.exception, RankTimeout) for failure in failed)
        text = f"the run was ended by its timeout; {late} of {total} had not finished"
        if len(failed) > late:
            text += f", {len(failed) - late} had failed before"
    elif run.status in ("interrupted", "stopped") and not failed:
        text = f"the run was {run.status} before {len(run.failures)} of {total} had finished"
    else:
        text = f"{len(failed)} of {total} failed"
    if run.results:
        text += f"; {'the result' if len(run.results) == 1 else 'results'} of {name_ranks(run.results)} kept"
    return text


def _root_text(root: RankFailure, coloured: bool) -> str:
    if root.is_timeout():
        return ""
    lines = [f"Rank {root.rank} failed first:"]
    trace = (root.coloured if coloured else "") or root.traceback
    if root.exception is not None and trace:
        lines += [root.lingered] if root.lingered else []
        lines.append(shortened(trace.rstrip(), 2 * _TRACEBACK_ENDS))
        return "\n".join(lines)
    if trace:
        lines.append(trace.rstrip())
    if root.stderr_tail:
        lines.append("  The last lines of its stderr:")
        lines += [f"  | {line}" for line in root.stderr_tail.splitlines()]
    lines.append(f"  {root.summary()}")
    return "\n".join(lines)


def _others(run: Run) -> list[str]:
    root = run.root_cause
    own = [failure for failure in run.failures.values() if not failure.collateral]
    lines = []
    while own:
        first = own[0]
        alike = [failure for failure in own if failure.same_as(first)]
        own = [failure for failure in own if not failure.same_as(first)]
        if first.is_timeout():
            lines.append(f"{_who_was(alike)} still running")
        elif root is not None and first.same_as(root):
            lines += _like_root(alike, root)
        else:
            who = name_ranks(failure.rank for failure in alike)
            lines.append(f"{who}: {first.summary()}{place_of(first)}")
        lines += [
            f"rank {failure.rank}: {failure.lingered}" for failure in alike if failure.lingered and failure is not root
        ]
    collateral = [failure for failure in run.failures.values() if failure.collateral]
    if collateral:
        why = "with the run" if root is None else "because of that"
        lines.append(f"{_who_was(collateral)} ended {why}")
    return ["\n".join(lines)] if lines else []


def _where_the_others_were(run: Run) -> str:
    """Say where the ranks were that did not fail by themselves, which is what they waited for."""
    victims = [failure for failure in run.failures.values() if failure.collateral or failure.is_timeout()]
    stacks = {failure.rank: failure.stack for failure in victims if failure.stack is not None}
    if not stacks:
        return ""
    root = run.root_cause
    if root is None or root.is_timeout():
        title = "Where they were then:"
    else:
        one = len(stacks) == 1
        title = f"Where {'it was' if one else 'they were'} when rank {root.rank} failed:"
    return "\n".join([title, *(f"  {line}" for line in Stacks(stacks).lines())])


def _like_root(alike: Sequence[RankFailure], root: RankFailure) -> list[str]:
    def reads_alike(failure: RankFailure) -> bool:
        # without an exception the texts differ by process ids only
        return root.exception is None or failure.summary() == root.summary()

    same = [failure.rank for failure in alike if failure is not root and reads_alike(failure)]
    others = [failure for failure in alike if not reads_alike(failure)]
    lines = [f"{name_ranks(same)}: the same as rank {root.rank}"] if same else []
    lines += [f"rank {failure.rank}: {failure.summary()} (from the same line)" for failure in others[:_SHOWN_ALIKE]]
    if others[_SHOWN_ALIKE:] and root.exception is not None:
        more = name_ranks(failure.rank for failure in others[_SHOWN_ALIKE:])
        lines.append(f"{more}: {type_name(root.exception)} from the same line")
    return lines


def place_of(failure: RankFailure) -> str:
    """Return the line of a cell where it failed, in brackets behind a space; empty if there is none."""
    places = re.findall(r"Cell In\[\d+\], line \d+", failure.traceback)
    return f" ({places[-1]})" if places else ""


def _who_was(failures: Sequence[RankFailure]) -> str:
    return f"{name_ranks(failure.rank for failure in failures)} {'was' if len(failures) == 1 else 'were'}"


def without_escapes(text: str) -> str:
    """Remove the colours from a text."""
    return _ESCAPES.sub("", text)


def crash_stack(stderr: str, cells: Mapping[str, int]) -> str:
    """Return the Python stack of a crash out of what faulthandler wrote, down to the cell, or an empty string.

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
    if crashed is None and is_cut(dump):
        return (
            f"{FATAL}{dump.splitlines()[0]} (in a thread that Python does not tell of: it had more than a hundred, and "
            "Python tells of the newest)"
        )
    if crashed is None:
        # the main thread, which is the oldest, comes last
        crashed = stacks[-1]
        headline += " (in a thread that runs no Python code, while the main thread was here)"
    # up to the next thread, which begins behind an empty line
    lines = dump[crashed.end() :].partition("\n\n")[0].splitlines()
    named = label_cells({0: Stack((tuple(frames_of(lines)),), "")}, cells)[0].threads[0]
    cut = is_cut_off(lines)
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
