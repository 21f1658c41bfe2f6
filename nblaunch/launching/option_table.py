"""All that can be chosen, in one table: for each option its name, default, help, where it is allowed and where it goes.

For example ``timeout`` is an argument of `nblaunch.launch`, ``--timeout`` on the line of ``%%multiproc``, and
``%config Multiproc.timeout``. The line, the settings, the checks and the tests of the documentation read it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

from nblaunch.processes.starting.start_methods import START_METHODS

__all__ = ["MAX_LOG", "OPTIONS", "Kind", "Option"]

MAX_LOG = 1 << 30
"""Bytes of a log that are kept where nobody says how many."""

# What an option has in the place of something that it does not have.
_ABSENT = object()


class Kind(Enum):
    """What the values of an option are."""

    FLAG = auto()
    CHOICE = auto()
    DURATION = auto()
    POSITIVE_DURATION = auto()
    WHOLE = auto()
    COUNT = auto()
    AT_LEAST_ONE = auto()
    SIZE = auto()
    BYTES = auto()
    TEXT = auto()
    NAME = auto()
    NAMES = auto()
    RANKS = auto()
    ASSIGNMENTS = auto()
    OBJECT = auto()


@dataclass(frozen=True)
class Option:
    """One thing that can be chosen.

    Parameters
    ----------
    name : str
        Its name in Python, in `nblaunch.launching.options.Options`, and as a setting of ``%config Multiproc``.
    kind : Kind
        What its values are.
    default : object
        Its value where nothing is chosen.
    help : str
        What it does, in a sentence.
    goes_to : {"Options", "launch", "magic", "engine", "logs"}
        Who reads it: whatever prepares a run, `nblaunch.launch` itself, ``%%multiproc`` itself, the engine, or who
        keeps logs.
    line : str
        What chooses it on the line, as in ``--grace``; empty if nothing does.
    metavar : str
        What stands for its value in the help of the line.
    choices : sequence of str
        The values that there are, for a `Kind.CHOICE`.
    sets : bool
        What a flag on the line makes it.
    off : object
        What ``none`` on the line stands for, if it may be there.
    off_means : str
        The same in words.
    off_line : str
        A flag of the line that stands for ``none`` too.
    setting : object
        What the setting is until somebody changes it, if it can be configured.
    in_python : bool
        Whether it is an argument of `nblaunch.launch`.
    takes : str
        What a value has to be, in the words of an error; empty where nothing or something special is checked.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    goes_to: Literal["Options", "launch", "magic", "engine", "logs"] = "Options"
    line: str = ""
    metavar: str | None = None
    choices: Sequence[str] = ()
    sets: bool = True
    off: Any = _ABSENT
    off_means: str = ""
    off_line: str = ""
    setting: Any = _ABSENT
    in_python: bool = True
    takes: str = ""

    @property
    def is_configurable(self) -> bool:
        """Whether there is a setting for it."""
        return self.setting is not _ABSENT

    @property
    def has_off(self) -> bool:
        """Whether ``none`` may be its value on the line."""
        return self.off is not _ABSENT

    @property
    def opposite(self) -> str:
        """The flag that takes back on the line what is configured; empty if it is no flag with a setting."""
        if self.kind is not Kind.FLAG or not self.is_configurable or not self.line:
            return ""
        return f"--{self.line[5:]}" if self.line.startswith("--no-") else f"--no-{self.line[2:]}"


OPTIONS = (
    # the second argument in Python, where it has no default
    Option(
        "nprocs", Kind.AT_LEAST_ONE, None, "Number of ranks (default: one per core).", "magic",
        line="nprocs", setting=0, in_python=False,
    ),
    Option("out", Kind.NAME, None, "Bind the Run to NAME, and nothing else.", "magic",
           line="--out", metavar="NAME", in_python=False),
    Option("args", Kind.OBJECT, (), "Arguments of the function."),
    Option("collect", Kind.NAMES, (), "Variables to bring back, as run.collected.", line="--collect", metavar="NAMES"),
    Option("capture", Kind.NAMES, (), "Take along variables not named in the cell.", line="--capture", metavar="NAMES"),
    Option("no_capture", Kind.FLAG, False, "Take along nothing but --capture.", line="--no-capture"),
    Option("env", Kind.ASSIGNMENTS, None, "Environment variable; may be repeated.", line="--env", metavar="K=V"),
    Option(
        "timeout", Kind.POSITIVE_DURATION, None, "Seconds after which the ranks are ended.",
        line="--timeout", metavar="S", off=None, off_means="never", setting=0.0,
        takes="a number of seconds above 0",
    ),
    Option(
        "grace", Kind.DURATION, 5.0, "Seconds between one signal and the next stronger one when ranks are ended.",
        line="--grace", metavar="S", off=0.0, off_means="at once", setting=5.0,
        takes="a number of seconds, 0 or more",
    ),
    Option(
        "stall", Kind.DURATION, 60.0, "Seconds of doing nothing after which ranks are told of.",
        line="--stall", metavar="S", off=0.0, off_means="never", setting=60.0,
        takes="a number of seconds, 0 for never",
    ),
    Option(
        "straggler", Kind.DURATION, 60.0, "Seconds after others have finished after which late ranks are told of.",
        line="--straggler", metavar="S", off=0.0, off_means="never", setting=60.0,
        takes="a number of seconds, 0 for never",
    ),
    Option(
        "max_restarts", Kind.COUNT, 0, "How often all ranks are started again after a failure.",
        line="--max-restarts", metavar="N", off=0, off_means="not at all", setting=0,
        takes="a whole number, 0 or more",
    ),
    Option(
        "on_failure", Kind.CHOICE, "stop", "What the first failure does to the other ranks.",
        line="--on-failure", choices=("stop", "continue"), setting="stop", takes="'stop' or 'continue'",
    ),
    Option(
        "panel", Kind.CHOICE, None, "How a run is shown; by default what NBLAUNCH_PANEL says, or live.",
        line="--panel", choices=("live", "text", "none"), off="none", off_line="--no-panel",
        off_means="not at all; results and failures are bound all the same", setting="",
        takes="'live', 'text' or 'none'",
    ),
    Option(
        "start_method", Kind.CHOICE, "zygote", "How processes are made.",
        line="--start-method", choices=tuple(START_METHODS), setting="zygote",
    ),
    Option(
        "log_dir", Kind.TEXT, None, "Folder for logs, which are kept.",
        line="--log-dir", metavar="DIR", off=None, off_means="a temporary one", setting="",
    ),
    Option("keep_killed", Kind.DURATION, 24.0, "Hours that logs of killed runs are kept; 0 is not at all.", "logs",
           setting=24.0, in_python=False),
    Option(
        "max_log", Kind.SIZE, MAX_LOG, "Longest log of a stream, as in 500M; of what is longer the oldest part goes.",
        line="--max-log", metavar="SIZE", off=0, off_means="no limit", setting="1G",
        takes="a size such as 500M or 2G, or 0 for no limit",
    ),
    Option("seed", Kind.WHOLE, None, "Make each rank's random state reproducible.", line="--seed", metavar="N"),
    Option(
        "threads", Kind.AT_LEAST_ONE, None, "Threads of numerical libraries per rank.",
        line="--threads", metavar="K", off=None, off_means="cores divided by ranks", setting=0,
        takes="a number of threads per rank, at least 1",
    ),
    Option("preload", Kind.NAMES, (), "Modules that zygotes import besides those imported here.", "engine",
           setting=(), in_python=False),
    Option("spares", Kind.COUNT, 16, "Most ranks that wait for the next cell after a run.", "engine",
           setting=16, in_python=False),
    Option("spare_seconds", Kind.DURATION, 600.0, "Seconds that ranks which wait for the next cell stay.", "engine",
           setting=600.0, in_python=False),
    Option(
        "size_notice", Kind.BYTES, 1e9, "Bytes sent to the ranks from which on a notice is shown.",
        line="--size-notice", metavar="SIZE", off=0.0, off_means="never", setting=1e9,
        takes="a number of bytes, 0 for no notice",
    ),
    Option(
        "show_ranks", Kind.RANKS, None,
        "Ranks whose figures, other displays and values are shown, as in 0,2-3; by default all.",
        line="--show-ranks", metavar="RANKS",
    ),
    Option("show_values", Kind.FLAG, False, "Whether the values of the ranks are shown below the cell.",
           line="--no-show", sets=False, setting=True, in_python=False),
    Option("show_locals", Kind.FLAG, False, "Show the local variables in tracebacks.", line="--locals"),
    Option("wait", Kind.FLAG, True, "Whether to wait for the end of the run; %multiproc stacks shows one that goes on.",
           "launch", line="--no-wait", sets=False),
    Option("quiet", Kind.FLAG, False, "Show nothing, values neither, unless ranks fail.",
           line="--quiet", setting=False),
    Option("pdb", Kind.FLAG, False, "Open a debugger at the frame where a rank raises.", line="--pdb", setting=False),
    Option(
        "hold", Kind.POSITIVE_DURATION, 600.0, "Seconds that a rank which has raised waits for a command, with pdb.",
        line="--hold", metavar="S", setting=600.0, takes="a number of seconds above 0",
    ),
    Option("settings", Kind.FLAG, True, "Whether changed settings of libraries are made in the ranks too.",
           line="--no-settings", sets=False, setting=True),
    Option("setup", Kind.FLAG, False, "Run this cell here, and from now on first in every rank.", "magic",
           line="--setup", in_python=False),
    Option("no_raise", Kind.FLAG, False, "Do not raise RanksFailed when a rank fails.", "magic",
           line="--no-raise", setting=False, in_python=False),
    # of Python only
    Option("check", Kind.FLAG, False, "Raise RanksFailed if a rank fails.", "launch"),
    Option("notebook", Kind.OBJECT, None, "Where variables come from.", "launch"),
    Option("engine", Kind.OBJECT, None, "Where the ranks live.", "launch"),
)  # fmt: skip
"""The options, in the order in which the help of the line has them."""
