"""The table of all options of a run: their names, defaults and help, where they can be given, and what reads them.

For example ``timeout`` is an argument of `nblaunch.launch`, ``--timeout`` on the line of ``%%multiproc``, and
``%config Multiproc.timeout``. The line, the settings, the checks and tests of the documentation are made from this
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

from nblaunch.processes.starting.start_methods import START_METHODS

__all__ = ["MAX_LOG", "OPTIONS", "Kind", "Option"]

MAX_LOG = 1 << 30
"""Bytes of a log that are kept by default."""

# The value of fields of an option that has no such property; None may be a real value.
_ABSENT = object()


class Kind(Enum):
    """The kind of values that an option has."""

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
        The kind of its values.
    default : object
        Its value if nothing is chosen.
    help : str
        What it does, in a sentence.
    line_help : str
        What its flag on the line does, where that is another sentence.
    goes_to : {"Options", "launch", "magic", "engine", "logs"}
        What reads it: `nblaunch.launching.options.Options`, `nblaunch.launch`, ``%%multiproc``, the engine, or
        `nblaunch.logs.kept`.
    line : str
        Its flag or argument on the line, such as ``--grace``; empty if it cannot be given there.
    metavar : str
        The name of its value in the help of the line.
    choices : sequence of str
        The allowed values of a `Kind.CHOICE`.
    sets : bool
        The value that the flag on the line sets.
    off : object
        The value that ``none`` on the line sets, if ``none`` is allowed.
    off_means : str
        What ``none`` means, for the help.
    off_line : str
        A flag of the line that means the same as ``none``.
    setting : object
        The initial value of ``%config Multiproc.NAME``, if it can be configured.
    in_python : bool
        Whether it is an argument of `nblaunch.launch`.
    takes : str
        What its value has to be, for the error; empty if no value is refused, or if `Options` checks it separately.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    goes_to: Literal["Options", "launch", "magic", "engine", "logs"] = "Options"
    line: str = ""
    line_help: str = ""
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
        """Whether ``%config Multiproc`` has it."""
        return self.setting is not _ABSENT

    @property
    def has_off(self) -> bool:
        """Whether ``none`` is allowed on the line."""
        return self.off is not _ABSENT

    @property
    def opposite(self) -> str:
        """The flag that overrides what is configured for a flag; empty if there is none."""
        if self.kind is not Kind.FLAG or not self.is_configurable or not self.line:
            return ""
        return f"--{self.line[5:]}" if self.line.startswith("--no-") else f"--no-{self.line[2:]}"


OPTIONS = (
    # in Python this is the second argument of `launch`, without a default
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
        line="--timeout", line_help="End the ranks after S seconds.",
        metavar="S", off=None, off_means="never", setting=0.0,
        takes="a number of seconds above 0",
    ),
    Option(
        "grace", Kind.DURATION, 5.0, "Seconds between one signal and the next stronger one when ranks are ended.",
        line="--grace", metavar="S", off=0.0, off_means="at once", setting=5.0,
        takes="a number of seconds, 0 or more",
    ),
    Option(
        "stall", Kind.DURATION, 60.0, "Seconds of doing nothing after which ranks are told of.",
        line="--stall", line_help="Tell which ranks have neither computed nor written for S seconds.",
        metavar="S", off=0.0, off_means="never", setting=60.0,
        takes="a number of seconds, 0 for never",
    ),
    Option(
        "straggler", Kind.DURATION, 60.0, "Seconds after others have finished after which late ranks are told of.",
        line="--straggler", line_help="Tell which ranks are left S seconds after others have finished.",
        metavar="S", off=0.0, off_means="never", setting=60.0,
        takes="a number of seconds, 0 for never",
    ),
    Option(
        "max_restarts", Kind.COUNT, 0, "How often all ranks are started again after a failure.",
        line="--max-restarts", line_help="Start all ranks again after a failure, up to N times.",
        metavar="N", off=0, off_means="not at all", setting=0,
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
        line="--log-dir", line_help="Keep the logs in DIR.",
        metavar="DIR", off=None, off_means="a temporary one", setting="",
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
           line="--no-show", line_help="Do not show the values of the ranks; --show shows them.",
           sets=False, setting=True, in_python=False),
    Option("show_locals", Kind.FLAG, False, "Show the local variables in tracebacks.", line="--locals"),
    Option("wait", Kind.FLAG, True, "Whether to wait for the end of the run.", "launch", line="--no-wait",
           line_help="Return at once; the run goes on, see %multiproc stacks.", sets=False),
    Option("quiet", Kind.FLAG, False, "Show nothing, values neither, unless ranks fail.",
           line="--quiet", setting=False),
    Option("pdb", Kind.FLAG, False, "Open a debugger at the frame where a rank raises.", line="--pdb", setting=False),
    Option(
        "hold", Kind.POSITIVE_DURATION, 600.0, "Seconds that a rank which has raised waits for a command, with pdb.",
        line="--hold", metavar="S", setting=600.0, takes="a number of seconds above 0",
    ),
    Option("settings", Kind.FLAG, True, "Whether changed settings of libraries are made in the ranks too.",
           line="--no-settings", line_help="Leave libraries in the ranks as they come; --settings changes them too.",
           sets=False, setting=True),
    Option("setup", Kind.FLAG, False, "Run this cell here, and from now on first in every rank.", "magic",
           line="--setup", in_python=False),
    Option("no_raise", Kind.FLAG, False, "Do not raise RanksFailed when a rank fails.", "magic",
           line="--no-raise", setting=False, in_python=False),
    # arguments of `launch` only
    Option("check", Kind.FLAG, False, "Raise RanksFailed if a rank fails.", "launch"),
    Option("notebook", Kind.OBJECT, None, "Where variables come from.", "launch"),
    Option("engine", Kind.OBJECT, None, "Where the ranks live.", "launch"),
)  # fmt: skip
"""The options, in the order of the help of the line."""
