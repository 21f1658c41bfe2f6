"""The gang's side of start methods ``forkserver`` and ``zygote``; the other one is in `forkserver.py`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nblaunch.processes import _linux
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.child.spare import Description
from nblaunch.processes.starting.base import (
    PARENT_ONLY_FDS,
    PATIENCE,
    Preparation,
    StartMethod,
    Watch,
    is_gone,
    spawn_helper,
)

__all__ = ["MOST_SPARES", "Connection", "Forkserver", "Unanswered"]

logger: logging.Logger = logging.getLogger(__name__)

_MAX_PACKET_BYTES = 1 << 16
# Linux passes no more descriptors in one packet (SCM_MAX_FD, unix(7)).
MOST_SPARES = 253
# Seconds for a forkserver that is ready to fork one rank; under heavy load that takes a while.
_FORK_PATIENCE = 30.0


class Unanswered(OSError):
    """A forkserver is gone, or does not answer."""


class Connection:
    """What a gang holds of its forkserver.

    Parameters
    ----------
    server : socket
        Packet socket to it.
    environment : dict of str to str
        The environment that the forkserver has.
    process : Popen, optional
        The forkserver, if it is a child of this process.
    complaints : file, optional
        What it says when it dies.
    guard_writer : int
        Writing end of a pipe that forkserver and spares watch; -1 if there is none.

    Attributes
    ----------
    spares : deque of (int, socket)
        Process id of each rank that was forked ahead, and the socket that it waits at.
    """

    def __init__(
        self,
        server: socket.socket,
        environment: dict[str, str],
        process: subprocess.Popen[bytes] | None = None,
        complaints: Any = None,
        guard_writer: int = -1,
    ) -> None:
        self.server = server
        self.environment = environment
        self.spares: deque[tuple[int, socket.socket]] = deque()
        self.pid: int = process.pid if process is not None else -1
        self._process = process
        self._complaints = complaints
        self._guard_writer = guard_writer
        self._greeted = False
        # whether it has said that nothing is left below it
        self._childless = False
        PARENT_ONLY_FDS.add(server.fileno())
        if guard_writer >= 0:
            PARENT_ONLY_FDS.add(guard_writer)

    def greet(self, gang: Watch, seconds: float | None = None) -> None:
        """Wait for the hello, if it has not come yet; go on with a forkserver that was stopped while it waited.

        Raises
        ------
        OSError
            If the forkserver says that it cannot fork.
        Unanswered
            If it dies, or the time is over.
        """
        if not self._greeted:
            gang.wait_readable(self.server.fileno(), seconds)
            self.hear()
        _let_go_on(self.pid)

    def hear(self) -> None:
        """Take the hello if it has come.

        Raises
        ------
        OSError
            If the forkserver says that it cannot fork.
        Unanswered
            If it has died.
        """
        # asked before, because recv_fds() takes flags and forgets them
        if self._greeted or not _is_readable(self.server):
            return
        try:
            data, descriptors, _, _ = socket.recv_fds(self.server, _MAX_PACKET_BYTES, MOST_SPARES)
        except ConnectionError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        mailboxes = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if not data:
            raise Unanswered(self.obituary())
        hello = json.loads(data)
        if "gone" in hello:
            raise Unanswered(self.obituary())
        self._greeted = True
        self.pid = hello["pid"]
        # fewer sockets where this process has no descriptors left; their spares leave
        for pid, mailbox in zip(hello["spares"], mailboxes, strict=False):
            PARENT_ONLY_FDS.add(mailbox.fileno())
            self.spares.append((pid, mailbox))
        if hello["problem"]:
            raise OSError(hello["problem"])

    def is_gone(self) -> bool:
        """Tell whether the forkserver has ended.

        Its connection alone does not show that: a spare that was only just forked holds a copy of the other end.
        """
        return _linux.hung_up(self.server.fileno()) or (self._greeted and _linux.has_ended(self.pid))

    def next_spare(self) -> tuple[int, socket.socket] | None:
        """Return a spare that still waits, or None."""
        while self.spares:
            pid, mailbox = self.spares.popleft()
            if not _linux.hung_up(mailbox.fileno()):
                _let_go_on(pid)
                return pid, mailbox
            _let_go(mailbox)
        return None

    def count_waiting(self) -> int:
        """Return how many spares wait by now; none of them is of use when the forkserver is gone."""
        with contextlib.suppress(OSError):
            self.hear()
        if self.is_gone():
            return 0
        return sum(not _linux.hung_up(mailbox.fileno()) for _, mailbox in self.spares)

    def drop_spares(self) -> bool:
        """Let go of all spares, which leave; tell whether there were any."""
        dropped = bool(self.spares)
        while self.spares:
            _let_go(self.spares.popleft()[1])
        return dropped

    def receive(self) -> dict[str, Any]:
        """Return the next packet.

        Raises
        ------
        EOFError, ConnectionError
            If the forkserver is gone.
        """
        data = self.server.recv(_MAX_PACKET_BYTES)
        if not data:
            raise EOFError
        answer: dict[str, Any] = json.loads(data)
        self._childless = answer.get("childless", False)
        return answer

    def close(self) -> None:
        """Let the forkserver end what is left below it; return when nothing is."""
        self.drop_spares()
        if self._process is not None and not self._greeted:
            self._process.kill()  # it has forked nothing yet, and may import for long
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_WR)
        self._close_guard()
        # One that has not greeted has no rank either, and ends when it finds nobody at the other end.
        if self._greeted and not self._childless and not self._says_that_all_is_gone():
            self._kill()
        _let_go(self.server)
        if self._process is not None:
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._complaints is not None:
            self._complaints.close()

    def disown(self) -> None:
        """Let go of it in a process that was forked from its owner."""
        for ours in (self.server, *(mailbox for _, mailbox in self.spares)):
            with contextlib.suppress(OSError):
                ours.close()
        with contextlib.suppress(OSError):
            self._close_guard()

    def _close_guard(self) -> None:
        if self._guard_writer >= 0:
            PARENT_ONLY_FDS.discard(self._guard_writer)
            writer, self._guard_writer = self._guard_writer, -1
            os.close(writer)

    def _says_that_all_is_gone(self) -> bool:
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(EOFError, OSError):
            while _is_readable(self.server, max(0.0, deadline - time.monotonic())):
                if "gone" in self.receive():
                    return True
            return False
        return True

    def _kill(self) -> None:
        # one of its descendants hangs in the kernel and cannot be waited for, or it is stopped itself
        if self.pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def obituary(self) -> str:
        """Say how the forkserver has ended, or that it does not answer."""
        if self._process is None:
            return "the process that was to fork the ranks has ended"
        code = self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip()
        return f"the process that was to fork the ranks has ended (exit code {code})" + (f":\n{said}" if said else "")


class Forkserver(StartMethod):
    """Forks of one helper process, which serves this gang only, has imported what all ranks need, and goes with it.

    The helper adopts what a rank leaves behind, even in other sessions, and ends it.
    """

    def __init__(self, gang: Watch, rank_specs: Sequence[RankSpec], preparation: Preparation) -> None:
        super().__init__(gang, rank_specs, preparation)
        self._connection: Connection | None = None
        self._pids: set[int] = set()
        self._chosen: deque[tuple[Description, socket.socket, contextlib.ExitStack]] = deque()

    def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        """Choose a spare, or have the forkserver fork; see `StartMethod.start`."""
        if self._connection is None:
            self._connection = self._connect(rank_spec)
            self._gang.watch(self._connection.server.fileno(), self._readable)
        descriptors = _with_streams(rank_spec, descriptors)
        pid = self._choose_spare(self._connection, rank_spec, descriptors)
        pid = pid or self._fork(self._connection, rank_spec, descriptors)
        self._pids.add(pid)
        return pid

    def close(self) -> None:
        """Let the helper end what is left and wait until it is gone."""
        for _, _, copies in self._chosen:
            copies.close()
        if self._connection is not None:
            self._gang.unwatch(self._connection.server.fileno())
            self._connection.close()
            self._connection = None

    def _connect(self, rank_spec: RankSpec) -> Connection:
        process, server, complaints = spawn_helper("starting.forkserver", rank_spec, self._preparation)
        connection = Connection(server, rank_spec.env, process, complaints)
        try:
            connection.greet(self._gang)
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self) -> None:
        """Wake the spares that have been chosen.

        All at once and at last: on few cores, the first ones would take the processor from the one who starts the rest.
        """
        while self._chosen:
            description, mailbox, copies = self._chosen.popleft()
            # one that has just died is reported by its forkserver
            with copies, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                description.send(mailbox)

    def release_spare_fds(self) -> bool:
        """Wake the spares that have been chosen, which take several descriptors each until then, or drop the others."""
        if self._chosen:
            self.begin()
            return True
        return self._connection is not None and self._connection.drop_spares()

    def resume_helpers(self) -> None:
        """Set the helper going."""
        if self._connection is not None:
            _let_go_on(self._connection.pid)

    def _choose_spare(self, connection: Connection, rank_spec: RankSpec, descriptors: Descriptors) -> int:
        spare = connection.next_spare()
        if spare is None:
            return 0
        pid, mailbox = spare
        with contextlib.ExitStack() as copies:
            copies.callback(_let_go, mailbox)
            held = []
            for descriptor in descriptors.given():
                held.append(os.dup(descriptor))
                copies.callback(os.close, held[-1])
            description = Description(rank_spec, descriptors.renumbered(held), connection.environment)
            copies.callback(description.close)
            self._chosen.append((description, mailbox, copies.pop_all()))
        return pid

    def _fork(self, connection: Connection, rank_spec: RankSpec, descriptors: Descriptors) -> int:
        try:
            Description(rank_spec, descriptors, connection.environment).send(connection.server)
            answer = self._answer(connection)
            while "exited" in answer:
                self._note_exit(answer)
                answer = self._answer(connection)
        except (ConnectionError, EOFError):
            raise OSError(connection.obituary()) from None
        if "error" in answer:
            raise OSError(answer["errno"], answer["error"])
        pid: int = answer["pid"]
        return pid

    def _answer(self, connection: Connection) -> dict[str, Any]:
        self._gang.wait_readable(connection.server.fileno(), _FORK_PATIENCE)
        return connection.receive()

    def _readable(self) -> None:
        assert self._connection is not None
        try:
            answer = self._connection.receive()
        except (ConnectionError, EOFError):
            # its ranks go with it: each was set to die with its parent, but one that is stuck in C code does not
            self._gang.unwatch(self._connection.server.fileno())
            for pid in sorted(self._pids):
                _kill_orphan(pid)
                self._gang.exited(pid, -signal.SIGKILL)
            self._pids.clear()
            return
        # An interrupted start may have left the answer to it behind. That rank is nobody's, and goes with its parent.
        if "exited" in answer:
            self._note_exit(answer)

    def _note_exit(self, answer: dict[str, Any]) -> None:
        # a spare that nobody needed is no rank
        if answer["exited"] in self._pids:
            self._pids.discard(answer["exited"])
            self._gang.exited(answer["exited"], answer["exitcode"])


def _with_streams(rank_spec: RankSpec, descriptors: Descriptors) -> Descriptors:
    """Add this process's own streams for those of the rank that go to no file: the forkserver may have others."""

    def ours(path: str, descriptor: int) -> int:
        return descriptor if not path and _is_open(descriptor) else -1

    return replace(descriptors, stdout=ours(rank_spec.stdout, 1), stderr=ours(rank_spec.stderr, 2))


def _is_readable(connection: socket.socket, seconds: float = 0.0) -> bool:
    return bool(_linux.readable([connection.fileno()], seconds))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _let_go(ours: socket.socket) -> None:
    PARENT_ONLY_FDS.discard(ours.fileno())
    ours.close()


def _let_go_on(pid: int) -> None:
    # somebody may have stopped it while it had nothing to do
    if pid > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGCONT)


def _kill_orphan(pid: int) -> None:
    """Kill a rank whose parent has just died, and its group; return when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            is_gone(pidfd)
        finally:
            os.close(pidfd)
