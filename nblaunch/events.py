"""What can happen to the ranks of a run: the only vocabulary between gang, run and panel.

Events flow one way, from the gang that watches the processes to whoever shows or keeps what happened. All of them are
frozen, so that a consumer may keep them, and all times are seconds of ``time.monotonic()``, which is one clock for all
processes of a machine. `shifted` makes times of one machine those of another.

This module is long because the vocabulary stands in one place; each class is short, and none depends on another one's
code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

__all__ = [
    "Abandoned",
    "AllExited",
    "Answered",
    "Asked",
    "Captured",
    "DisplayKind",
    "Displayed",
    "Ended",
    "Ending",
    "ErrorFile",
    "Event",
    "Exited",
    "Finished",
    "Frame",
    "GettingReady",
    "Imported",
    "LastWord",
    "Launched",
    "QuestionKind",
    "QuestionWithdrawn",
    "Raised",
    "Refused",
    "Restarting",
    "Sampled",
    "SessionEnded",
    "Signalled",
    "Stack",
    "StacksTaken",
    "Stalled",
    "Started",
    "Straggling",
    "TaskEnded",
    "TimedOut",
    "Usage",
    "shifted",
]


class LastWord(str, Enum):
    """What a rank has sent last of all: its value, or its exception."""

    VALUE = "value"
    ERROR = "error"


class DisplayKind(str, Enum):
    """A new output; other content for the outputs with this name; or the end of all outputs of a rank."""

    NEW = "display"
    UPDATE = "update"
    CLEAR = "clear"


class QuestionKind(str, Enum):
    """What a rank asks for.

    A line; a line that must not be seen; a command for the debugger; the rank has raised and waits before it reports
    that; a debugger at such a failure was left, and the rank waits again, or its user wants all to end.
    """

    LINE = "input"
    PASSWORD = "password"
    COMMAND = "command"
    HELD = "held"
    LEFT = "left"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class Captured:
    """The objects that every rank is sent are packed; nothing has started yet.

    Parameters
    ----------
    sizes : dict of str to int
        Bytes of each by name. What several of them share counts for the first one.
    notices : tuple of str
        Sentences about objects that will not mean in the ranks what they mean in the notebook.
    """

    sizes: dict[str, int]
    at: float
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Launched:
    """The run exists and its log files have their places; no rank has started yet.

    Parameters
    ----------
    nprocs : int
        How many ranks there will be.
    attempt : int
        How often the ranks have been started before: 0 for the first time, 1 for the first restart. Whoever runs them
        knows by it who reads their logs: see ``Ranks.logs`` in ``engines/base.py``.
    hosts : tuple of str
        On which node each rank will be, by name; empty if all are on one.
    """

    nprocs: int
    at: float
    attempt: int = 0
    hosts: tuple[str, ...] = ()

    def local_rank(self, rank: int) -> int:
        """Return which of the ranks of its node a rank is."""
        return self.hosts[:rank].count(self.hosts[rank]) if self.hosts else rank


@dataclass(frozen=True, slots=True)
class GettingReady:
    """The ranks wait for a process that will fork them and still imports modules.

    Parameters
    ----------
    importing : str
        The package that it imports now; empty before the first one.
    """

    importing: str
    at: float


@dataclass(frozen=True, slots=True)
class Started:
    """The process of a rank exists."""

    rank: int
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A rank sent its value, which is its last word.

    ``body`` is the packed value: the bytes that the rank sent, or, if they were many, a list of views of mapped memory.
    ``at`` is the time at which the rank sent it, as in all events about what a rank has sent.
    """

    rank: int
    body: bytearray | list[memoryview] = field(repr=False)
    at: float


@dataclass(frozen=True, slots=True)
class Raised:
    """A rank reported an exception, which is its last word unless it is held.

    Parameters
    ----------
    summary : str
        Type and message in one line.
    traceback : str
        As a notebook shows it, with its colours; of a long one both ends.
    raised_at : float
        When that was; the rank may have waited for a debugger since.
    held : bool
        Whether it waits still, and has not failed yet.
    report : nblaunch.messages.reports.ErrorReport
        All that the rank has sent, the exception itself included.
    """

    rank: int
    summary: str
    traceback: str = field(repr=False)
    at: float
    raised_at: float
    held: bool = False
    report: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Imported:
    """A rank has imported modules that brought many others along."""

    rank: int
    modules: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What a rank has sent is no value: it counts as failed, although it had finished.

    Parameters
    ----------
    why : str
        Why that cannot be rebuilt where it was to arrive.
    sent_at : float
        When it was sent, which is when the rank failed.
    """

    rank: int
    why: str
    sent_at: float
    at: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a rank uses, the processes that it has started included.

    Parameters
    ----------
    cpu : float
        Percent of one core, since the last sample.
    memory : int
        Bytes, what it shares with other processes divided among them (PSS).
    """

    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the running ranks use just now."""

    usage: dict[int, Usage]
    at: float


@dataclass(frozen=True, slots=True)
class Displayed:
    """A rank displayed something.

    Parameters
    ----------
    kind : DisplayKind
        Whether it is something new, or what becomes of what the rank has displayed before.
    data, metadata : dict of str to object
        As in Jupyter's ``display_data``: representations by MIME type, and what belongs to them. Nothing but what JSON
        has. Empty for `DisplayKind.CLEAR`.
    display_id : str or None
        Name that the rank has given to the output, one of many in this rank only.
    wait : bool
        With `DisplayKind.CLEAR`: not at once, but when the next output of this rank comes.
    """

    rank: int
    kind: DisplayKind
    data: dict[str, Any] = field(repr=False)
    metadata: dict[str, Any] = field(repr=False)
    display_id: str | None
    at: float
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """A function that has been called and has not returned: file, present line (0 if it is unknown), name."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a rank was at a moment.

    Parameters
    ----------
    threads : tuple of tuple of Frame
        The frames of each Python thread, the innermost first; the main thread comes first. Of threads that run just
        then there are none, because looking at them could end the process, and of no more than a hundred others.
    state : str
        The process's state as in ``/proc/PID/stat`` (proc_pid_stat(5)): ``"R"`` runs, ``"S"`` waits, ``"D"`` hangs in
        the kernel, ``"T"`` is stopped.
    problem : str
        Why there are no frames; empty if there are.
    native : str
        The frames of C code among those of Python, as text, where they were asked for.
    left_out : int
        Threads of the process that are not among `threads`; those that run no Python code are counted too.
    cut : bool
        Whether the outermost frames of the main thread are not known, because Python tells of no more than a hundred.
    """

    threads: tuple[tuple[Frame, ...], ...]
    state: str
    problem: str = ""
    native: str = ""
    left_out: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class StacksTaken:
    """Where ranks were when something happened.

    Parameters
    ----------
    stacks : dict of int to Stack
        By rank; of those that were still at work.
    reason : {"failure", "timeout", "stall"}
        What happened: the first rank had just failed, the time was over, or these ranks did nothing for long.
    """

    stacks: dict[int, Stack] = field(repr=False)
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A rank asks somebody and waits for the answer.

    Parameters
    ----------
    number : int
        Number of the question, one of many in this rank only.
    kind : QuestionKind
        What it asks for.
    prompt : str
        What stands before the answer.
    text : str
        What is to be shown before: output of the debugger, or the traceback.
    where : str
        Where the rank is, in words.
    session : int
        Which session of the debugger asks; 0 is none.
    """

    rank: int
    number: int
    kind: QuestionKind
    prompt: str
    text: str = field(repr=False)
    where: str
    session: int
    at: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A rank has been sent the answer to its question. It comes from whoever answers, in any thread."""

    rank: int
    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Stalled:
    """Which ranks neither compute nor write.

    Parameters
    ----------
    ranks : tuple of int
        Those that have neither used the processor nor written for so long; told again whenever others are, empty when
        none is any more.
    seconds : float
        For how long.
    """

    ranks: tuple[int, ...]
    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class QuestionWithdrawn:
    """A rank does not wait for the answer to its question any more."""

    rank: int
    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Straggling:
    """Which ranks are still at work although others have finished.

    Parameters
    ----------
    ranks : tuple of int
        Those that are left.
    seconds : float
        How long ago the last of the others finished.
    """

    ranks: tuple[int, ...]
    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The debugger of a rank was left, and the rank goes on.

    Parameters
    ----------
    text : str
        What the debugger has still written.
    quit : bool
        Whether its user wants the run to end.
    """

    rank: int
    session: int
    text: str = field(repr=False)
    quit: bool
    at: float


@dataclass(frozen=True, slots=True)
class ErrorFile:
    """What a rank has left in its error file, in the format of torch elastic.

    Parameters
    ----------
    contents : bytes
        What the file holds; more than can be read of it may be cut.
    written_at : float
        When it was written, in seconds since the epoch.
    problem : str
        Why it cannot be read; empty if it can.
    """

    contents: bytes = field(repr=False)
    written_at: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Exited:
    """The process of a rank is gone and has been reaped.

    Parameters
    ----------
    exitcode : int
        As in `subprocess.Popen.returncode`: minus the signal number if a signal ended it.
    reported : LastWord or None
        Its last word, if it had one.
    collateral : bool
        Whether the gang ended it before it had failed by itself.
    out_of_memory : str
        If the kernel killed it for want of memory, what says so; else empty.
    broke : str
        What was wrong with the bytes that it sent, for which it was killed; else empty.
    lingered : float
        Seconds that it went on after it had failed by itself, until it was killed for that; else 0.
    error_file : ErrorFile or None
        What it has left in its error file, unless it has sent a value or there is no file.
    """

    rank: int
    exitcode: int
    reported: LastWord | None
    collateral: bool
    at: float
    out_of_memory: str = ""
    broke: str = ""
    lingered: float = 0.0
    error_file: ErrorFile | None = None

    @property
    def reason(self) -> str:
        """What ended it and what to do now, as far as that is known; else empty."""
        if self.broke:
            return (
                f"it broke its connection to the notebook ({self.broke}). Look for code in this rank that writes to "
                "descriptors or sockets which it has not opened itself"
            )
        if self.out_of_memory:
            return (
                f"the kernel ran out of memory meanwhile ({self.out_of_memory}). Use less memory per rank, or fewer "
                "ranks"
            )
        return ""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The time allowed for the run is over; `ranks` were still running."""

    ranks: tuple[int, ...]
    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class Ending:
    """The gang begins to end the ranks that still run. `reason` says why, in words."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Signalled:
    """Ranks are sent a signal, so that they end. `pids` are their processes, by their numbers."""

    pids: dict[int, int]
    signal: int
    at: float


@dataclass(frozen=True, slots=True)
class AllExited:
    """No rank is left, none has failed, and all could be started again: whoever refuses a value does it now."""

    at: float


@dataclass(frozen=True, slots=True)
class Restarting:
    """All ranks have ended after a failure, and are about to be started once more; `Launched` follows.

    Parameters
    ----------
    attempt : int
        Number of the attempt that begins: 1 for the first restart.
    most : int
        How many restarts there may be.
    """

    attempt: int
    most: int
    at: float


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """All ranks of a gang that stays have had their last word on a task, or are gone.

    Parameters
    ----------
    number : int
        0 for the first task.
    refused : str
        Why no rank could be given it, in words; empty if they were.
    """

    number: int
    at: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A rank did not go although it was killed: it hangs in the kernel (state D) and is waited for no longer."""

    rank: int
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """No rank is left. Always the last event.

    Parameters
    ----------
    defect : str or None
        The traceback of an error in the supervision itself.
    refused : str
        Why the ranks could not be started, in words; empty if they were.
    ordered : bool
        Whether somebody had ordered the gang to end.
    """

    at: float
    defect: str | None = None
    refused: str = ""
    ordered: bool = False


Event = (
    Captured
    | Launched
    | GettingReady
    | Started
    | Finished
    | Raised
    | Imported
    | Refused
    | Displayed
    | Sampled
    | StacksTaken
    | Stalled
    | Straggling
    | Asked
    | Answered
    | QuestionWithdrawn
    | SessionEnded
    | Exited
    | TimedOut
    | Ending
    | Signalled
    | AllExited
    | Restarting
    | TaskEnded
    | Abandoned
    | Ended
)

# The fields that hold times; all other numbers are durations, or times since the epoch.
_TIMES = ("at", "raised_at", "sent_at")
_E = TypeVar("_E")


def shifted(event: _E, seconds: float) -> _E:
    """Return an event, all of whose times are so many seconds later.

    For example, where ``time.monotonic()`` is 100 on a machine and 130 here, ``shifted(event, 30)`` tells the times of
    an event of that machine by the clock of this one.
    """
    changed: dict[str, Any] = {name: getattr(event, name) + seconds for name in _TIMES if hasattr(event, name)}
    report = getattr(event, "report", None)
    if is_dataclass(report):
        changed["report"] = shifted(report, seconds)
    return replace(event, **changed)  # type: ignore[type-var]
