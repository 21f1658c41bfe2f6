"""`Forkserver`: start method ``forkserver``, in the gang's process; the process that forks is in `forkserver.py`."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.child.spare import Description
from nblaunch.processes.starting.base import (
    Preparation,
    StartMethod,
    Watch,
    is_gone,
    spawn_helper,
)
from nblaunch.processes.starting.forkserver_connection import Connection, let_go, let_go_on

__all__ = ["Forkserver"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds that a forkserver which is ready has to fork one rank; under heavy load that takes long.
_FORK_PATIENCE = 30.0


class Forkserver(StartMethod):
    """Forks of a helper process that has imported what all ranks need, and serves this gang only.

    The helper adopts the processes that a rank leaves behind, even in other sessions, and ends them.
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

        They are woken together, when all ranks have been started: on few cores, spares that run would delay the others'
        start.
        """
        while self._chosen:
            description, mailbox, copies = self._chosen.popleft()
            # the forkserver reports a spare that has just died
            with copies, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                description.send(mailbox)

    def release_spare_fds(self) -> bool:
        """Wake the spares that have been chosen, which frees their descriptors; if there are none, drop the others."""
        if self._chosen:
            self.begin()
            return True
        return self._connection is not None and self._connection.drop_spares()

    def resume_helpers(self) -> None:
        """Set the helper going, if it was stopped."""
        if self._connection is not None:
            let_go_on(self._connection.pid)

    def _choose_spare(self, connection: Connection, rank_spec: RankSpec, descriptors: Descriptors) -> int:
        spare = connection.next_spare()
        if spare is None:
            return 0
        pid, mailbox = spare
        with contextlib.ExitStack() as copies:
            copies.callback(let_go, mailbox)
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
            # The forkserver is gone. Its ranks are set to die with it, but one that is stuck in C code does not.
            self._gang.unwatch(self._connection.server.fileno())
            for pid in sorted(self._pids):
                _kill_orphan(pid)
                self._gang.exited(pid, -signal.SIGKILL)
            self._pids.clear()
            return
        # Other answers are left from a start that was interrupted; that rank ends with the forkserver.
        if "exited" in answer:
            self._note_exit(answer)

    def _note_exit(self, answer: dict[str, Any]) -> None:
        # exits of spares that were not used are ignored
        if answer["exited"] in self._pids:
            self._pids.discard(answer["exited"])
            self._gang.exited(answer["exited"], answer["exitcode"])


def _with_streams(rank_spec: RankSpec, descriptors: Descriptors) -> Descriptors:
    """Add this process's own streams for those of the rank that have no file: the forkserver may have other ones."""

    def ours(path: str, descriptor: int) -> int:
        return descriptor if not path and _is_open(descriptor) else -1

    return replace(descriptors, stdout=ours(rank_spec.stdout, 1), stderr=ours(rank_spec.stderr, 2))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


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
