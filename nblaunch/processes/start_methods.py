"""The ways to make the process of a rank: ``spawn``, ``fork``, ``forkserver``, and a program of its own.

A start method makes processes and tells when they have exited; signals, deadlines and meaning are the gang's. It works
in the gang's supervisor thread and never waits for a process: the gang's selector wakes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

from nblaunch.processes import _linux
from nblaunch.processes.child import Birth, Descriptors, fork, run_forked
from nblaunch.processes.redirects import get_libc

__all__ = ["PARENT_ENDS", "START_METHODS", "Fork", "Forkserver", "Program", "Spawn", "StartMethod", "Watch"]

# Descriptors whose other ends are in ranks. Whoever is forked from this process drops them: a copy of them would keep
# the guards of the ranks from noticing that the parent is gone.
PARENT_ENDS: set[int] = set()


def _drop_parent_ends() -> None:
    if not PARENT_ENDS:
        return
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
    except OSError:  # the system gives no more descriptors
        for descriptor in PARENT_ENDS:
            os.close(descriptor)
    else:
        # better than closing: the objects that own them are in the copy too, and would close what has the number next
        for descriptor in PARENT_ENDS:
            os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
    PARENT_ENDS.clear()


os.register_at_fork(after_in_child=_drop_parent_ends)

# Seconds for what was killed to be gone.
_PATIENCE = 5.0

_BOOT = (
    "import json, sys; described = json.load(open(int(sys.argv.pop()), 'rb')); "
    "sys.path[:] = described['birth']['sys_path']; from nblaunch.processes.{module} import main; main(described)"
)


class Watch(Protocol):
    """What a start method needs of the gang."""

    def watch(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Call `readable` whenever the descriptor is readable."""

    def unwatch(self, descriptor: int) -> None:
        """Stop doing so."""

    def exited(self, pid: int, exitcode: int) -> None:
        """Take note that a process has exited and was reaped."""


class StartMethod(ABC):
    """Makes the processes of one gang."""

    def __init__(self, gang: Watch, prepare: str = "") -> None:
        self._gang = gang
        self._prepare = prepare

    @abstractmethod
    def start(self, birth: Birth, descriptors: Descriptors, inherited: object) -> int:
        """Start one rank and return its process id; it leads its own session.

        Raises
        ------
        OSError
            If the system refuses another process.
        """

    def close(self) -> None:  # noqa: B027  (most methods have nothing to close)
        """Let go of whatever served the whole gang. No rank is left when this is called."""


class _DirectChildren(StartMethod):
    """Ranks that are children of this process."""

    def __init__(self, gang: Watch, prepare: str = "") -> None:
        super().__init__(gang, prepare)
        self._running: dict[int, tuple[int, Callable[[], int]]] = {}

    def _expect_exit(self, pid: int, reap: Callable[[], int]) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor left; nobody else knows of this process
            os.kill(pid, signal.SIGKILL)
            reap()
            raise
        self._running[pid] = pidfd, reap
        self._gang.watch(pidfd, partial(self._exited, pid))

    def _exited(self, pid: int) -> None:
        pidfd, reap = self._running.pop(pid)
        self._gang.unwatch(pidfd)
        os.close(pidfd)
        # Its children go with it. The process is a zombie until it is reaped, so the number of its group cannot
        # mean another one yet.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._gang.exited(pid, reap())

    def close(self) -> None:
        """Kill and reap what is left after a failure of the gang itself."""
        while self._running:
            pid, (pidfd, reap) = self._running.popitem()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            if _is_gone(pidfd):
                reap()
            os.close(pidfd)


class Spawn(_DirectChildren):
    """A fresh interpreter per rank."""

    def start(self, birth: Birth, descriptors: Descriptors, inherited: object) -> int:
        """Start an interpreter; see `StartMethod.start`."""
        process = _spawn_interpreter("child", birth, descriptors)
        self._expect_exit(process.pid, process.wait)
        return process.pid


class Program(_DirectChildren):
    """A program per rank: no Python of ours in it.

    It is guarded by the pipe alone, which holds from just after its start, and as long as the program does not close
    descriptors that it does not know.
    """

    def start(self, birth: Birth, descriptors: Descriptors, inherited: object) -> int:
        """Start the program; see `StartMethod.start`."""
        with contextlib.ExitStack() as files:
            process = subprocess.Popen(
                birth.command,
                env=birth.env,
                cwd=birth.cwd,
                start_new_session=True,
                pass_fds=(descriptors.guard,),
                stdout=files.enter_context(_log(birth.stdout)) if birth.stdout else None,
                stderr=files.enter_context(_log(birth.stderr)) if birth.stderr else None,
            )
        _linux.guard_group(descriptors.guard, process.pid)
        self._expect_exit(process.pid, process.wait)
        return process.pid


class Fork(_DirectChildren):
    """A copy of this very process per rank, with all that is in its memory."""

    def start(self, birth: Birth, descriptors: Descriptors, inherited: object) -> int:
        """Fork; see `StartMethod.start`."""
        parent = os.getpid()
        _flush_streams()
        with warnings.catch_warnings():
            # Python 3.12 warns that other threads exist; whoever asks for fork has weighed that
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
            pid = fork()
        if pid == 0:
            run_forked(birth, descriptors, parent, inherited)
        self._expect_exit(pid, partial(_wait, pid))
        return pid


class Forkserver(StartMethod):
    """Forks of one helper process, which is started for this gang, has imported what all ranks need, and goes with it.

    The helper adopts what a rank leaves behind, even in other sessions, and ends it; its side is
    `nblaunch.processes.forkserver`.
    """

    _process: subprocess.Popen[bytes] | None = None

    def start(self, birth: Birth, descriptors: Descriptors, inherited: object) -> int:
        """Have the helper fork; see `StartMethod.start`."""
        if self._process is None:
            self._start_helper(birth)
        changed = {name: value for name, value in birth.env.items() if self._env.get(name) != value}
        removed = [name for name in self._env if name not in birth.env]
        request = json.dumps({"birth": birth.as_json(), "changed": changed, "removed": removed}).encode()
        try:
            socket.send_fds(self._helper, [request], descriptors.given())
            answer = self._receive()
            while "exited" in answer:
                self._note_exit(answer)
                answer = self._receive()
        except (ConnectionError, EOFError):
            raise OSError(self._obituary()) from None
        if "error" in answer:
            raise OSError(answer["error"])
        pid: int = answer["pid"]
        self._pids.add(pid)
        return pid

    def close(self) -> None:
        """Let the helper end what is left and wait until it is gone."""
        if self._process is not None:
            self._gang.unwatch(self._helper.fileno())
            PARENT_ENDS.discard(self._helper.fileno())
            self._helper.close()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()  # one of its descendants hangs in the kernel and cannot be waited for
                self._process.wait()
            self._process = None

    def _start_helper(self, birth: Birth) -> None:
        self._helper, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        PARENT_ENDS.add(self._helper.fileno())
        self._env = birth.env
        self._pids: set[int] = set()
        with theirs:
            self._process = _spawn_interpreter(
                "forkserver", birth, Descriptors(theirs.fileno(), -1, -1), prepare=self._prepare
            )
        self._gang.watch(self._helper.fileno(), self._readable)

    def _receive(self) -> dict[str, Any]:
        data = self._helper.recv(1 << 16)
        if not data:
            raise EOFError
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _readable(self) -> None:
        try:
            answer = self._receive()
        except (ConnectionError, EOFError):
            # its ranks go with it: each was set to die with its parent, but one that is stuck in C code does not
            self._gang.unwatch(self._helper.fileno())
            for pid in sorted(self._pids):
                _kill_orphan(pid)
                self._gang.exited(pid, -signal.SIGKILL)
            self._pids.clear()
            return
        self._note_exit(answer)

    def _note_exit(self, answer: dict[str, Any]) -> None:
        self._pids.discard(answer["exited"])
        self._gang.exited(answer["exited"], answer["exitcode"])

    def _obituary(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        return f"the process that was to fork the ranks has ended (exit code {code}): its messages are on stderr"


START_METHODS: dict[str, type[StartMethod]] = {"spawn": Spawn, "fork": Fork, "forkserver": Forkserver}


def _spawn_interpreter(module: str, birth: Birth, descriptors: Descriptors, **more: object) -> subprocess.Popen[bytes]:
    described = {
        "birth": birth.as_json(),
        "descriptors": asdict(descriptors),
        "parent": os.getpid(),
        **more,
    }
    with contextlib.ExitStack() as files:
        # in a file, because sys.path and sys.argv can be longer than one argument may be
        file = files.enter_context(open(_linux.memory_file("nblaunch-birth"), "wb"))
        file.write(json.dumps(described).encode())
        file.flush()
        file.seek(0)
        redirected = module == "child"
        return subprocess.Popen(
            [
                sys.executable,
                *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                "-c",
                _BOOT.format(module=module),
                str(file.fileno()),
            ],
            env=birth.env,
            cwd=birth.cwd,
            start_new_session=True,
            pass_fds=(*descriptors.given(), file.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=files.enter_context(_log(birth.stdout)) if redirected and birth.stdout else None,
            stderr=files.enter_context(_log(birth.stderr)) if redirected and birth.stderr else None,
        )


def _log(path: str) -> Any:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), "wb", buffering=0)


def _flush_streams() -> None:
    """Empty the buffers that a fork would copy, and its rank write out once more."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # any object can stand for a stream, and one that fails is no reason to start nothing
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.flush()
    libc = get_libc()
    for name in ("stdout", "stderr"):
        libc.fflush(ctypes.c_void_p.in_dll(libc, name))


def _is_gone(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(_PATIENCE * 1000))


def _kill_orphan(pid: int) -> None:
    """Kill a rank whose parent has just died, and its group; return when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            _is_gone(pidfd)
        finally:
            os.close(pidfd)


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
