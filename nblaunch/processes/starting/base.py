"""`StartMethod`: the contract between the gang and the ways to make processes; and how a fresh interpreter is started.

A start method makes processes and reports when they have exited; signals and deadlines are the gang's. It works in the
gang's supervisor thread, and the gang's selector wakes it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

from nblaunch.processes import _linux
from nblaunch.processes.child.debuggers import past_debuggers
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec

__all__ = [
    "PARENT_ONLY_FDS",
    "PATIENCE",
    "UNPREPARED",
    "Preparation",
    "StartMethod",
    "Watch",
    "belongs_to_parent",
    "is_gone",
    "open_log",
    "own_path",
    "spawn_helper",
    "spawn_interpreter",
    "start_program",
]

# Descriptors whose other ends are in ranks. Processes that are forked from this one drop them: with a copy of them
# elsewhere, the guards of the ranks would not notice that the parent is gone.
PARENT_ONLY_FDS: set[int] = set()


def _drop_parent_only_fds() -> None:
    if not PARENT_ONLY_FDS:
        return
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
    except OSError:  # the system gives no more descriptors
        for descriptor in PARENT_ONLY_FDS:
            os.close(descriptor)
    else:
        # Not closed: the objects that own them are in this copy too, and would later close other files of that number.
        for descriptor in PARENT_ONLY_FDS:
            os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
    PARENT_ONLY_FDS.clear()


os.register_at_fork(after_in_child=_drop_parent_only_fds)

# Seconds that a process which was killed has to end.
PATIENCE = 5.0

# Until nblaunch's own modules have been imported, sys.path has no folder of the user's: a json.py beside the notebook
# must not replace the standard one.
_BOOT = """
import sys
if not sys.path[0]:
    del sys.path[0]
import json
with open(int(sys.argv.pop()), "rb") as file:
    described = json.load(file)
del file
sys.path[:] = described["path"]
from nblaunch.processes.{module} import main
main(described)
"""


class NotInTime(InterruptedError):
    """The ranks had not started when the time for that was over."""


class Watch(Protocol):
    """What a start method needs of the gang."""

    def watch(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Call `readable` whenever the descriptor is readable."""

    def unwatch(self, descriptor: int) -> None:
        """Watch the descriptor no more."""

    def wait_readable(self, descriptor: int, seconds: float | None = None) -> None:
        """Wait until the descriptor is readable.

        Raises
        ------
        InterruptedError
            If the gang is ordered to end meanwhile, or its time is over (`NotInTime`).
        TimeoutError
            If it is not readable within so many seconds.
        """

    def getting_ready(self, importing: str) -> None:
        """Tell that the ranks wait for a process that imports this package; empty if it imports none yet."""

    def exited(self, pid: int, exitcode: int) -> None:
        """Take note that a process has exited and was reaped."""


@dataclass(frozen=True)
class Preparation:
    """What is done before a rank's own work, ahead of time where that is possible.

    Parameters
    ----------
    prepare : str
        ``"module"`` or ``"module:function"``, which a process that becomes ranks or forks them imports, and calls.
    rehearse : str
        ``"module:function"`` that a spare calls, see `nblaunch.processes.child.spare.wait`.
    modules : tuple of str
        Modules that a zygote imports. None of them is the user's own, which would be stale after an edit.
    needed : tuple of str
        Those of them that this launch uses, and so waits for if a zygote still imports them.
    spares : int
        Most ranks that a zygote's forkserver forks ahead; 0 is none.
    seconds : float
        Time after which spares that were not used end.
    """

    prepare: str = ""
    rehearse: str = ""
    modules: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    spares: int = 0
    seconds: float = 600.0


UNPREPARED = Preparation()


class StartMethod(ABC):
    """Makes the processes of one gang."""

    def __init__(self, gang: Watch, rank_specs: Sequence[RankSpec], preparation: Preparation) -> None:
        self._gang = gang
        self._rank_specs = rank_specs
        self._preparation = preparation

    @abstractmethod
    def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        """Start one rank, which leads a session of its own, and return its process id.

        Raises
        ------
        OSError
            If the system refuses another process.
        """

    def begin(self) -> None:  # noqa: B027  (most start at once)
        """Let processes begin that were started and wait: all ranks have been started."""

    def release_spare_fds(self) -> bool:
        """Close descriptors that are not needed, because the system gives no more; tell whether there were any."""
        return False

    def resume_helpers(self) -> None:  # noqa: B027  (most have none)
        """Set helper processes going that were stopped: they have to report the exits of ranks that are ended."""

    def close(self) -> None:  # noqa: B027  (most methods have nothing to close)
        """Close what served the whole gang. No rank is left when this is called."""


def belongs_to_parent(descriptor: int, until: contextlib.ExitStack) -> None:
    """Have processes that any thread forks drop the descriptor, until `until` is closed."""
    PARENT_ONLY_FDS.add(descriptor)
    until.callback(PARENT_ONLY_FDS.discard, descriptor)


def spawn_interpreter(
    module: str,
    rank_spec: RankSpec,
    descriptors: Descriptors,
    preparation: Preparation,
    stdout: int | None = None,
    stderr: Any = None,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[bytes]:
    """Start a fresh interpreter that runs ``main`` of a module of this package.

    Parameters
    ----------
    module : str
        Name of the module, below ``nblaunch.processes``.
    rank_spec, descriptors
        Describe the process.
    preparation : Preparation
        What the process does first.
    stdout, stderr : int or file, optional
        Its streams; by default those of this process.
    left_out : mapping of str to str
        Modules that it does not import although the preparation names them, each with the reason.

    Raises
    ------
    OSError
        If the system refuses the process.
    """
    described = {
        "rank_spec": rank_spec.as_json(),
        "descriptors": descriptors.as_json(),
        "parent": os.getpid(),
        "prepare": preparation.prepare,
        "rehearse": preparation.rehearse,
        "modules": preparation.modules,
        "left_out": dict(left_out),
        "path": own_path(rank_spec),
    }
    with contextlib.ExitStack() as files:
        # in a file, because sys.path and sys.argv may be longer than the system allows for an argument
        file = files.enter_context(open(_linux.memory_file("nblaunch-rank_spec"), "wb"))
        file.write(json.dumps(described).encode())
        file.flush()
        file.seek(0)
        return start_program(
            rank_spec,
            [
                sys.executable,
                *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                "-c",
                _BOOT.format(module=module),
                str(file.fileno()),
            ],
            (*descriptors.given(), file.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            redirect=module == "child.rank_process",
        )


def spawn_helper(
    module: str,
    rank_spec: RankSpec,
    preparation: Preparation,
    *,
    guard: int = -1,
    stdout: int | None = None,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> tuple[subprocess.Popen[bytes], socket.socket, BinaryIO]:
    """Start a fresh interpreter that serves this process; see `spawn_interpreter`.

    Returns
    -------
    process : Popen
        The helper.
    control : socket
        This process's end of a packet socket to it; every process that any thread forks drops it.
    complaints : file
        A file in memory with what it writes to standard error.
    """
    with contextlib.ExitStack() as kept, contextlib.ExitStack() as passed_on:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept.enter_context(ours)
        belongs_to_parent(ours.fileno(), kept)
        passed_on.enter_context(theirs)
        memory = _linux.memory_file(f"nblaunch-{module.rpartition('.')[2]}")
        complaints = kept.enter_context(open(memory, "r+b", buffering=0))
        descriptors = Descriptors(control=theirs.fileno(), guard=guard)
        process = spawn_interpreter(module, rank_spec, descriptors, preparation, stdout, complaints, left_out)
        kept.pop_all()
    return process, ours, complaints


def own_path(rank_spec: RankSpec) -> list[str]:
    """Return `sys.path` without the user's working directory, and with the folder of this package.

    That folder comes last, but before any other folder that has another copy of this package: both processes have to
    use the same version.
    """
    here = os.path.realpath(rank_spec.cwd or os.curdir)
    path = [entry for entry in rank_spec.sys_path if entry and os.path.realpath(entry) != here]
    root = str(Path(__file__).resolve().parents[3])
    if root not in path:
        others = (i for i, entry in enumerate(path) if os.path.isdir(os.path.join(entry, "nblaunch")))
        path.insert(next(others, len(path)), root)
    return path


def start_program(
    rank_spec: RankSpec,
    command: Sequence[str],
    descriptors: tuple[int, ...],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: Any = None,
    redirect: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a program with the surroundings of a rank, as the leader of a session of its own.

    Raises
    ------
    OSError
        If the system refuses the process.
    """
    with past_debuggers(), contextlib.ExitStack() as files:
        try:
            return subprocess.Popen(
                command,
                env=rank_spec.env,
                cwd=rank_spec.cwd,
                start_new_session=True,
                pass_fds=descriptors,
                stdin=stdin,
                stdout=files.enter_context(open_log(rank_spec.stdout)) if redirect and rank_spec.stdout else stdout,
                stderr=files.enter_context(open_log(rank_spec.stderr)) if redirect and rank_spec.stderr else stderr,
            )
        except OSError as refusal:
            if refusal.errno != errno.E2BIG:
                raise
            name = max(rank_spec.env, key=lambda name: len(rank_spec.env[name]), default="")
            raise OSError(
                errno.E2BIG,
                f"the environment and arguments of rank {rank_spec.rank} are too large for the system; the largest "
                f"variable is {name} with {len(rank_spec.env.get(name, ''))} characters. Pass it by a file instead",
            ) from refusal


def open_log(path: str) -> Any:
    """Open a log file for a rank to write to; only the owner may read it."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), "wb", buffering=0)


def is_gone(pidfd: int) -> bool:
    """Wait a moment for the process behind a pidfd to end; tell whether it has."""
    return bool(_linux.readable([pidfd], PATIENCE))
