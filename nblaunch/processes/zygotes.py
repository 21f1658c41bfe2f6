"""The zygotes of this process: made in the background, asked for forkservers, replaced when they fail or are outgrown.

::

    load_ext, imports ─► get_ready ─► a zygote, which imports            (nobody waits)
    launch ─► Zygote.start ─► connect ─► forkserver with spares ─► ranks
    end of the run ─► the next forkserver is ordered, with as many spares as the run had ranks

A zygote serves all launches that want the same preparation and the same variables of those that libraries read when
they are loaded; everything else a rank gets when it is launched.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from nblaunch.processes import _linux, threads
from nblaunch.processes.child import Birth, Descriptors
from nblaunch.processes.direct_children import Spawn
from nblaunch.processes.forkserver_client import MOST_SPARES, Connection, Forkserver, Unanswered
from nblaunch.processes.load_time import differ_at_load, inherited, read_at_load
from nblaunch.processes.starting import PARENT_ENDS, Preparation, StartMethod, Watch, spawn_interpreter

__all__ = ["ZYGOTES", "Zygote", "Zygotes"]

logger = logging.getLogger(__name__)

# The allocator that comes with pyarrow, and so with pandas, otherwise starts a thread when it is loaded.
_SINGLE_THREADED = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
# Zygotes that are kept: each holds the libraries that it has imported.
_MOST_ZYGOTES = 3
# Seconds for imports. A zygote that needs longer hangs, and the launch goes on without one.
_IMPORT_PATIENCE = 120.0
# Seconds for a ready zygote to fork a forkserver, or for a forkserver to say hello.
_HELLO_PATIENCE = 10.0
# Seconds after a run before the next spares are forked: the kernel is busy with the cell's reply, and the person may
# run the next cell at once.
_DELAY = 0.1
# Share of the available memory that spares may take, and what one takes: its private pages, torch imported.
_SHARE_OF_MEMORY = 0.05
_BYTES_PER_SPARE = 12 << 20
_LONGEST_REPORT = 1 << 17
# A forkserver gives up later than its client does: one that is taken in the last moment must not end just then.
_MARGIN = 60.0


# What cannot be changed any more when a process has begun and has loaded its libraries.
_Kind = tuple[dict[str, str], dict[str, object]]


def _kind(env: Mapping[str, str]) -> _Kind:
    return read_at_load(env), inherited()


@dataclass
class _Ahead:
    """A forkserver that was ordered before anybody needed it."""

    connection: Connection
    until: float

    def state(self) -> tuple[int, float]:
        """Return how many spares wait, and for how many seconds more."""
        left = self.until - time.monotonic()
        return (self.connection.count_waiting(), left) if left > 0 else (0, 0.0)


@dataclass
class _Process:
    """A zygote, as its client knows it."""

    preparation: Preparation
    kind: _Kind
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    control: socket.socket
    guard_writer: int
    complaints: Any
    began: float = field(default_factory=time.monotonic)
    report: dict[str, Any] | None = None
    ahead: _Ahead | None = None

    def serves(self, preparation: Preparation, kind: _Kind) -> bool:
        """Tell whether this is a zygote of that kind, whatever modules it holds."""
        return (self.preparation.prepare, self.preparation.rehearse, self.kind) == (
            preparation.prepare,
            preparation.rehearse,
            kind,
        )

    def has(self, modules: tuple[str, ...]) -> bool:
        """Tell whether the zygote holds these modules, or has tried to."""
        return set(modules) <= set(self.preparation.modules)

    def outgrows(self, other: _Process) -> bool:
        """Tell whether this zygote can do all that the other one can."""
        return self.serves(other.preparation, other.kind) and self.has(other.preparation.modules)

    def poll(self) -> bool:
        """Read the report if it has come; tell whether the zygote lives."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._read_report(self.control)
        return self.process.poll() is None

    def left_out(self) -> dict[str, str]:
        """Return the modules that the zygote does not hold although it was asked to, each with the reason."""
        found: dict[str, str] = {} if self.report is None else self.report["left_out"]
        return found

    def wait_report(self, control: socket.socket, gang: Watch) -> None:
        """Wait until the zygote has imported everything.

        Parameters
        ----------
        control : socket
            A duplicate of the connection to it, which nobody else closes.
        gang : Watch
            Who waits.

        Raises
        ------
        OSError
            If it dies, cannot get ready, or needs too long.
        """
        self.process.send_signal(signal.SIGCONT)  # somebody may have stopped it
        if self.report is None:
            gang.wait_readable(control.fileno(), max(0.0, self.began + _IMPORT_PATIENCE - time.monotonic()))
            with contextlib.suppress(ConnectionError):
                self._read_report(control)
        if self.report is None:
            raise Unanswered(self._obituary())
        if self.report["problem"]:
            raise OSError(self.report["problem"])

    def _obituary(self) -> str:
        code = self.process.wait()
        try:
            said = os.pread(self.complaints.fileno(), _LONGEST_REPORT, 0).decode(errors="replace").strip()
        except ValueError:  # another thread has let go of it
            said = ""
        return f"it ended with code {code}" + (f":\n{said}" if said else "")

    def _read_report(self, control: socket.socket) -> None:
        # It stays in the socket, because several launches may wait for it at once.
        if self.report is None:
            data = control.recv(_LONGEST_REPORT, socket.MSG_PEEK | socket.MSG_DONTWAIT)
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
        PARENT_ENDS.difference_update((self.control.fileno(), self.guard_writer))
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


class Zygotes:
    """All zygotes of this process; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # the one used last comes last
        self._processes: list[_Process] = []
        self.failures: deque[str] = deque(maxlen=3)

    def get_ready(self, preparation: Preparation, env: Mapping[str, str], path: tuple[str, ...]) -> None:
        """See to it that a zygote with these modules exists or is being made; returns at once.

        Raises
        ------
        OSError
            If the system refuses the process.
        """
        with self._lock:
            self._bury_the_dead()
            kind = _kind(env)
            if not any(one.serves(preparation, kind) and one.has(preparation.modules) for one in self._processes):
                self._make(preparation, env, path)

    def connect(self, preparation: Preparation, birth: Birth, gang: Watch) -> Connection:
        """Return the connection to a forkserver for one gang, made ahead if there is one.

        Raises
        ------
        InterruptedError
            If the gang is ordered to end meanwhile.
        OSError
            If there is no way to get one, which is no reason not to launch in another way.
        """
        with self._lock:
            zygote = self._zygote_for(preparation, birth)
            # Of its own: if another thread ends this zygote, the number of its descriptor soon means another file.
            control = zygote.control.dup()
        try:
            with control:
                zygote.wait_report(control, gang)
            with self._lock:
                connection = self._take_ahead(zygote) or zygote.order(0, 0.0, None)
            try:
                connection.greet(gang, _HELLO_PATIENCE)
            except BaseException:
                connection.close()
                raise
        except InterruptedError:
            raise
        except OSError as error:
            self._discard(zygote, str(error))
            raise
        return connection

    def order_ahead(self, preparation: Preparation, birth: Birth, nprocs: int) -> None:
        """Have the next gang's forkserver and spares made; whatever prevents it will show when they are needed."""
        spares = min(nprocs, preparation.spares, self._affordable(), MOST_SPARES)
        with self._lock:
            self._bury_the_dead()
            with contextlib.suppress(OSError):
                kind = _kind(birth.env)
                kin = [one for one in self._processes if one.serves(preparation, kind)]
                zygote = next((one for one in kin if one.report is not None), None)
                if zygote is None or zygote.ahead is not None or spares < 1:
                    return
                connection = zygote.order(spares, _DELAY, preparation.seconds + _MARGIN)
                zygote.ahead = _Ahead(connection, time.monotonic() + preparation.seconds)

    def close(self) -> None:
        """End all zygotes and spares; the next launch makes new ones."""
        with self._lock:
            while self._processes:
                self._processes.pop().close()

    def forget(self) -> None:
        """Drop what belongs to the process that this one was forked from."""
        self._lock = threading.RLock()
        while self._processes:
            self._processes.pop().disown()

    def state(self) -> list[dict[str, Any]]:
        """Return what there is to know of each zygote, for a person who wonders; the one used last comes first."""
        with self._lock:
            return [
                {
                    "pid": zygote.process.pid,
                    "alive": zygote.poll(),
                    "ready": zygote.report is not None,
                    "modules": [name for name in zygote.preparation.modules if name not in zygote.left_out()],
                    "variables": zygote.kind[0],
                    "spares": None if zygote.ahead is None else zygote.ahead.state(),
                    "left_out": zygote.left_out(),
                    "problem": "" if zygote.report is None else zygote.report["problem"],
                    "seconds": 0.0 if zygote.report is None else zygote.report["seconds"],
                }
                for zygote in reversed(self._processes)
            ]

    def _affordable(self) -> int:
        return int(psutil.virtual_memory().available * _SHARE_OF_MEMORY) // _BYTES_PER_SPARE

    def _bury_the_dead(self) -> None:
        """Let go of zygotes that have died, and of those that a ready one has outgrown."""
        for zygote in list(self._processes):
            if not zygote.poll():
                self._discard(zygote, f"it ended with code {zygote.process.returncode}")
        for newer in list(self._processes):
            for older in list(self._processes):
                if older is not newer and newer.report is not None and newer.outgrows(older):
                    self._processes.remove(older)
                    older.close()

    def _zygote_for(self, preparation: Preparation, birth: Birth) -> _Process:
        """Return the zygote to use now: one that has everything, or one that has what this launch needs, if ready."""
        with self._lock:
            self._bury_the_dead()
            kind = _kind(birth.env)
            kin = [one for one in self._processes if one.serves(preparation, kind)]
            complete = next((one for one in kin if one.has(preparation.modules)), None)
            if complete is None:
                complete = self._make(preparation, birth.env, birth.sys_path)
            ready = (one for one in reversed(kin) if one.report is not None and one.has(preparation.needed))
            chosen = complete if complete.report is not None else next(ready, complete)
            self._processes.remove(chosen)
            self._processes.append(chosen)
            return chosen

    def _make(self, preparation: Preparation, env: Mapping[str, str], path: tuple[str, ...]) -> _Process:
        environment = {**_SINGLE_THREADED, **env, **dict.fromkeys(threads.VARIABLES, "1")}
        with contextlib.ExitStack() as kept, contextlib.ExitStack() as passed_on:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            kept.enter_context(ours)
            passed_on.enter_context(theirs)
            complaints = kept.enter_context(open(_linux.memory_file("nblaunch-zygote"), "r+b", buffering=0))
            guard_reader, guard_writer = os.pipe()
            kept.callback(os.close, guard_writer)
            passed_on.callback(os.close, guard_reader)
            guard = _linux.own_description(guard_reader)
            passed_on.callback(os.close, guard)
            process = spawn_interpreter(
                "zygote",
                # not in the notebook's folder: nothing of the user's is imported, and the folder may be removed
                Birth(0, env=environment, cwd="/", sys_path=_without_here(path)),
                Descriptors(control=theirs.fileno(), guard=guard),
                preparation,
                # a kernel's streams go to its frontend
                stdout=subprocess.DEVNULL,
                stderr=complaints,
            )
            kept.pop_all()
        PARENT_ENDS.update((ours.fileno(), guard_writer))
        zygote = _Process(preparation, _kind(env), environment, process, ours, guard_writer, complaints)
        self._processes.append(zygote)
        while len(self._processes) > _MOST_ZYGOTES:
            self._processes.pop(0).close()
        return zygote

    def _take_ahead(self, zygote: _Process) -> Connection | None:
        with self._lock:
            ahead, zygote.ahead = zygote.ahead, None
        if ahead is None:
            return None
        if time.monotonic() < ahead.until:
            with contextlib.suppress(OSError):
                ahead.connection.server.send(b"t")
                return ahead.connection
        ahead.connection.close()
        return None

    def _discard(self, zygote: _Process, why: str) -> None:
        with self._lock:
            if zygote in self._processes:  # or another thread has ended it meanwhile, on purpose
                logger.warning("a zygote (pid %d) failed and is replaced: %s", zygote.process.pid, why)
                self.failures.append(why)
                self._processes.remove(zygote)
                zygote.close()


def _without_here(path: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out the working directory, and what is found from there: that is another place for each rank."""
    absolute = [entry for entry in path if Path(entry).is_absolute()]
    with contextlib.suppress(FileNotFoundError):  # it was removed
        here = os.path.realpath(os.curdir)
        absolute = [entry for entry in absolute if os.path.realpath(entry) != here]
    return tuple(absolute)


ZYGOTES = Zygotes()
os.register_at_fork(after_in_child=ZYGOTES.forget)
atexit.register(ZYGOTES.close)


class Zygote(Forkserver):
    """Forks of a process that lives as long as the notebook's kernel and has imported its heavy libraries.

    If the zygote fails, the ranks come from a forkserver of their own, as with start method ``forkserver``; if they
    differ in variables that libraries read when they are loaded, they are fresh interpreters.
    """

    _from_zygote = False

    def __init__(self, gang: Watch, births: Sequence[Birth], preparation: Preparation) -> None:
        super().__init__(gang, births, preparation)
        unlike = any(differ_at_load(births[0].env, other.env) for other in births[1:])
        self._apart: StartMethod | None = Spawn(gang, births, preparation) if unlike else None

    def start(self, birth: Birth, descriptors: Descriptors, inherited: object) -> int:
        """Start a rank; see `StartMethod.start`."""
        if self._apart is not None:
            return self._apart.start(birth, descriptors, inherited)
        return super().start(birth, descriptors, inherited)

    def _connect(self, birth: Birth) -> Connection:
        try:
            connection = ZYGOTES.connect(self._preparation, birth, self._gang)
        except InterruptedError:
            raise
        except OSError:
            return super()._connect(birth)
        self._from_zygote = True
        return connection

    def close(self) -> None:
        """Let the forkserver go, and have the next one made."""
        super().close()
        if self._apart is not None:
            self._apart.close()
        if self._from_zygote:
            ZYGOTES.order_ahead(self._preparation, self._births[0], len(self._births))
