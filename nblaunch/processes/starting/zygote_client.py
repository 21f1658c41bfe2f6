"""`ZygoteClient`: the connection to one zygote, which is the process of `nblaunch.processes.starting.zygote`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nblaunch.processes import _linux, threads
from nblaunch.processes.child.rank_spec import RankSpec
from nblaunch.processes.starting.base import (
    PARENT_ONLY_FDS,
    Preparation,
    Watch,
    belongs_to_parent,
    own_path,
    spawn_helper,
)
from nblaunch.processes.starting.forkserver_connection import Connection, Unanswered
from nblaunch.processes.starting.load_time import Kind, differ_for_libraries_only, kind_of

__all__ = ["Ahead", "Grandchild", "ZygoteClient"]

# Without this, the allocator of pyarrow, which pandas loads too, starts a thread.
_SINGLE_THREADED = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
# Packages that read no environment variables when they are loaded: a fork that has only these may change its variables.
_READ_NO_VARIABLES = {"IPython", "cloudpickle"}
# Seconds that a zygote has to fork another one.
_FORK_PATIENCE = 10.0
# How reasons begin that may not hold later, for which a module is left out.
_MAY_BE_MENDED = ("its import failed", "there is no module")
# Seconds for imports. A zygote that needs longer hangs, and the launch goes on without one.
_IMPORT_PATIENCE = 120.0
# Seconds between two looks at what a zygote imports, the first of which comes after as long.
_LOOK = 0.5
_MAX_REPORT_BYTES = 1 << 17
# What a zygote writes before the name of each module, in front of what the module's import itself writes.
_IMPORTING = "\0importing "


class Grandchild:
    """A process that another one has forked, with the methods of `subprocess.Popen` that are needed.

    Parameters
    ----------
    pid : int
        Its process id.
    connection : socket
        A socket whose other end only that process has, so that it shows when the process has ended.
    """

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection

    def poll(self) -> int | None:
        """Return None while it runs, and 1 afterwards: only its parent could tell the exit code."""
        if self.returncode is None and _linux.hung_up(self._connection.fileno()):
            self.returncode = 1
        return self.returncode

    def wait(self) -> int:
        """Wait until it has ended; see `poll`."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                pidfd = os.pidfd_open(self.pid)
                try:
                    _linux.readable([pidfd], None)
                finally:
                    os.close(pidfd)
            self.returncode = 1
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass
class Ahead:
    """A forkserver that was made ahead, for the next launch."""

    connection: Connection
    until: float

    def state(self) -> tuple[int, float]:
        """Return how many spares wait, and for how many seconds more."""
        left = self.until - time.monotonic()
        return (self.connection.count_waiting(), left) if left > 0 else (0, 0.0)


@dataclass
class ZygoteClient:
    """A zygote, as the process knows it that has started it."""

    preparation: Preparation
    kind: Kind
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | Grandchild
    control: socket.socket
    guard_writer: int
    complaints: Any
    began: float = field(default_factory=time.monotonic)
    report: dict[str, Any] | None = None
    ahead: Ahead | None = None

    @classmethod
    def start(
        cls, preparation: Preparation, env: Mapping[str, str], path: tuple[str, ...], harmful: Mapping[str, str]
    ) -> ZygoteClient:
        """Start a zygote, which begins to import all but the harmful modules.

        Raises
        ------
        OSError
            If the system refuses the process.
        """
        environment = {**_SINGLE_THREADED, **env, **dict.fromkeys(threads.VARIABLES, "1")}
        with contextlib.ExitStack() as kept, contextlib.ExitStack() as passed_on:
            guard, guard_writer = _guard_pipe(kept, passed_on)
            process, control, complaints = spawn_helper(
                "starting.zygote",
                # not in the notebook's folder, whose modules must not be imported and which may be removed
                RankSpec(0, env=environment, cwd="/", sys_path=_without_here(path)),
                preparation,
                guard=guard,
                # a kernel's streams go to its frontend
                stdout=subprocess.DEVNULL,
                left_out={name: why for name, why in harmful.items() if name in preparation.modules},
            )
            kept.pop_all()
        return cls(preparation, kind_of(env), environment, process, control, guard_writer, complaints)

    @classmethod
    def grow(
        cls,
        base: ZygoteClient,
        preparation: Preparation,
        env: Mapping[str, str],
        path: tuple[str, ...],
        harmful: Mapping[str, str],
    ) -> ZygoteClient:
        """Have a zygote that is ready fork another one, which begins to import the modules that are missing.

        `can_become` tells whether that is possible.

        Raises
        ------
        OSError
            If the zygote is gone, or does not answer.
        """
        rank_spec = RankSpec(0, cwd="/", sys_path=_without_here(path))
        known = {**harmful, **base.harmful()}
        left_out = {name: why for name, why in known.items() if name in preparation.modules}
        kind = kind_of(env)
        # variables for numbers of threads are left as they are: a zygote has one thread
        different = kind[0].items() - base.kind[0].items()
        changed = {name: value for name, value in different if name not in threads.VARIABLES}
        removed = sorted(base.kind[0].keys() - kind[0].keys() - set(threads.VARIABLES))
        environment = {name: value for name, value in base.environment.items() if name not in removed} | changed
        described = {
            "modules": preparation.modules,
            "left_out": left_out,
            "path": own_path(rank_spec),
            "environment": {"set": changed, "removed": removed},
            "rehearse": preparation.rehearse,
        }
        with contextlib.ExitStack() as kept, contextlib.ExitStack() as passed_on:
            guard, guard_writer = _guard_pipe(kept, passed_on)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            kept.enter_context(ours)
            belongs_to_parent(ours.fileno(), kept)
            passed_on.enter_context(theirs)
            # with a copy of it in another process, the end of the zygote would go unnoticed
            belongs_to_parent(theirs.fileno(), passed_on)
            complaints = kept.enter_context(open(_linux.memory_file("nblaunch-zygote"), "r+b", buffering=0))
            file = passed_on.enter_context(open(_linux.memory_file("nblaunch-rank_spec"), "wb", buffering=0))
            file.write(json.dumps(described).encode())
            file.seek(0)
            rights = array("i", [theirs.fileno(), guard, complaints.fileno(), file.fileno()])
            base.process.send_signal(signal.SIGCONT)  # it may have been stopped
            base.control.sendmsg(
                [b'{"grow": true}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_DONTWAIT
            )
            # before the wait, in which the end of the new process must be noticed
            passed_on.close()
            if not _linux.readable([ours.fileno()], _FORK_PATIENCE):
                raise TimeoutError("a zygote that was to fork another one did not answer")
            told = ours.recv(_MAX_REPORT_BYTES)
            if not told:
                raise ConnectionResetError("a zygote that was to fork another one is gone")
            process = Grandchild(json.loads(told)["pid"], ours)
            kept.pop_all()
        return cls(preparation, kind, environment, process, ours, guard_writer, complaints)

    def has_been_grown(self) -> bool:
        """Tell whether this zygote was forked from another one."""
        return isinstance(self.process, Grandchild)

    def harm(self) -> str:
        """Return the module that made this zygote unusable; a new one has to do without it. Empty if none did."""
        return "" if self.report is None else str(self.report.get("harm", ""))

    def serves(self, preparation: Preparation, kind: Kind) -> bool:
        """Tell whether this is a zygote of that kind, whatever modules it holds."""
        return (self.preparation.prepare, self.preparation.rehearse, self.kind) == (
            preparation.prepare,
            preparation.rehearse,
            kind,
        )

    def can_become(self, preparation: Preparation, kind: Kind) -> bool:
        """Tell whether a fork of this zygote can be of that kind and hold these modules, and no others."""
        if (self.preparation.prepare, self.preparation.rehearse) != (preparation.prepare, preparation.rehearse):
            return False
        held = set(self.preparation.modules)
        # a zygote that has more modules than are asked for does not become one that has fewer
        if self.report is None or not held <= set(preparation.modules):
            return False
        if self.kind == kind:
            return True
        light = {name.partition(".")[0] for name in held} <= _READ_NO_VARIABLES
        return light and differ_for_libraries_only(self.kind, kind)

    def has(self, modules: tuple[str, ...]) -> bool:
        """Tell whether the zygote was asked to import all these modules."""
        return set(modules) <= set(self.preparation.modules)

    def outgrows(self, other: ZygoteClient) -> bool:
        """Tell whether this zygote can do all that the other one can."""
        return self.serves(other.preparation, other.kind) and self.has(other.preparation.modules)

    def poll(self) -> bool:
        """Read the report if it has come; tell whether the zygote is running."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._read_report(self.control)
        return self.process.poll() is None

    def harmful(self) -> dict[str, str]:
        """Return the modules that it leaves out because they do harm, with the reasons; missing ones do not count."""
        return {name: why for name, why in self.left_out().items() if not why.startswith(_MAY_BE_MENDED)}

    def left_out(self) -> dict[str, str]:
        """Return the modules that the zygote was asked for and does not have, each with the reason."""
        found: dict[str, str] = {} if self.report is None else self.report["left_out"]
        return found

    def wait_report(self, control: socket.socket, gang: Watch) -> None:
        """Wait until the zygote has imported everything; tell the gang what it imports if that takes long.

        Parameters
        ----------
        control : socket
            A duplicate of the connection to the zygote, which no other thread closes.
        gang : Watch
            The gang that waits.

        Raises
        ------
        OSError
            If it dies, cannot get ready, or needs too long.
        """
        self.process.send_signal(signal.SIGCONT)  # it may have been stopped
        if self.report is None:
            self._wait_readable(control, gang)
            with contextlib.suppress(ConnectionError):
                self._read_report(control)
        if self.report is None:
            raise Unanswered(self._obituary())
        if self.report["problem"]:
            raise OSError(self.report["problem"])

    def _wait_readable(self, control: socket.socket, gang: Watch) -> None:
        told: str | None = None
        while True:
            left = max(0.0, self.began + _IMPORT_PATIENCE - time.monotonic())
            try:
                gang.wait_readable(control.fileno(), min(left, _LOOK))
                return
            except TimeoutError:
                if left <= _LOOK:
                    raise TimeoutError(
                        f"a zygote had not come to the end of its imports after {_IMPORT_PATIENCE:.0f} s"
                    ) from None
            package = self.importing().partition(".")[0]
            if package != told:
                told = package
                gang.getting_ready(package)

    def importing(self) -> str:
        """Return the name of the module that it imports, or was importing when it died; empty if there is none."""
        return self._last_words()[0] if self.report is None else ""

    def end_in_words(self) -> str:
        """Say how it has ended."""
        code = self.process.wait()
        return "it ended" if self.has_been_grown() else f"it ended with code {code}"

    def _obituary(self) -> str:
        ended = self.end_in_words()
        module, said = self._last_words()
        return f"{ended}{module and f' while it imported {module}'}" + (f":\n{said}" if said else "")

    def _last_words(self) -> tuple[str, str]:
        """Return the name of the module that was imported last, and what was written since."""
        before, mark, last = self._written().rpartition(_IMPORTING)
        module, _, said = last.partition("\n") if mark else ("", "", before + last)
        return module, said.strip()

    def _written(self) -> str:
        try:
            size = os.fstat(self.complaints.fileno()).st_size
            begin = max(0, size - _MAX_REPORT_BYTES)
            return os.pread(self.complaints.fileno(), _MAX_REPORT_BYTES, begin).decode(errors="replace")
        except ValueError:  # another thread has closed the file
            return ""

    def _read_report(self, control: socket.socket) -> None:
        # The report stays in the socket (MSG_PEEK), because several launches may wait for it at once.
        if self.report is None:
            data = control.recv(_MAX_REPORT_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            self.report = json.loads(data) if data else None

    def order(self, spares: int, delay: float, seconds: float | None) -> Connection:
        """Have a forkserver forked and return the connection to it, on which it has not said hello yet.

        Raises
        ------
        OSError
            If the zygote is gone.
        """
        wanted = json.dumps({"spares": spares, "delay": delay, "seconds": seconds}).encode()
        with contextlib.ExitStack() as kept, contextlib.ExitStack() as passed_on:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            kept.enter_context(ours)
            passed_on.enter_context(theirs)
            guard, guard_writer = os.pipe()
            kept.callback(os.close, guard_writer)
            passed_on.callback(os.close, guard)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [theirs.fileno(), guard]))]
            # not send_fds(), which takes flags and forgets them
            self.control.sendmsg([wanted], rights, socket.MSG_DONTWAIT)
            kept.pop_all()
        return Connection(ours, self.environment, guard_writer=guard_writer)

    def close(self) -> None:
        """End the zygote and what it has ordered ahead; forkservers in use go on."""
        if self.ahead is not None:
            self.ahead.connection.close()
            self.ahead = None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        PARENT_ONLY_FDS.difference_update((self.control.fileno(), self.guard_writer))
        self._close_descriptors()

    def disown(self) -> None:
        """Let go of it in a process that was forked from its owner."""
        self.process.returncode = 0  # or it is said to be running still
        if self.ahead is not None:
            self.ahead.connection.disown()
        with contextlib.suppress(OSError):
            self._close_descriptors()

    def _close_descriptors(self) -> None:
        self.control.close()
        self.complaints.close()
        os.close(self.guard_writer)


def _guard_pipe(kept: contextlib.ExitStack, passed_on: contextlib.ExitStack) -> tuple[int, int]:
    """Return the end of a guard pipe that a zygote gets, with a description of its own, and the end that stays here."""
    reader, writer = os.pipe()
    kept.callback(os.close, writer)
    belongs_to_parent(writer, kept)
    passed_on.callback(os.close, reader)
    guard = _linux.own_description(reader)
    passed_on.callback(os.close, guard)
    return guard, writer


def _without_here(path: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out the working directory, and what is found from there: that is another place for each rank."""
    absolute = [entry for entry in path if Path(entry).is_absolute()]
    with contextlib.suppress(FileNotFoundError):  # it was removed
        here = os.path.realpath(os.curdir)
        absolute = [entry for entry in absolute if os.path.realpath(entry) != here]
    return tuple(absolute)
