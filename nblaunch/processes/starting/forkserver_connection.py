"""`Connection`: the connection to one forkserver, and to the spares that it has forked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections import deque
from typing import Any

from nblaunch.processes import _linux
from nblaunch.processes.starting.base import (
    PARENT_ONLY_FDS,
    PATIENCE,
    Watch,
)

__all__ = ["MOST_SPARES", "Connection", "Unanswered", "let_go", "let_go_on"]

_MAX_PACKET_BYTES = 1 << 16
MOST_SPARES = 253
"""Linux passes no more descriptors in one packet (SCM_MAX_FD, unix(7))."""


class Unanswered(OSError):
    """A forkserver is gone, or does not answer."""


class Connection:
    """The connection to a forkserver.

    Parameters
    ----------
    server : socket
        Packet socket to the forkserver.
    environment : dict of str to str
        The environment of the forkserver.
    process : Popen, optional
        The forkserver, if it is a child of this process.
    complaints : file, optional
        What the forkserver writes to standard error.
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
        # whether the forkserver has said that it has no child left
        self._childless = False
        PARENT_ONLY_FDS.add(server.fileno())
        if guard_writer >= 0:
            PARENT_ONLY_FDS.add(guard_writer)

    def greet(self, gang: Watch, seconds: float | None = None) -> None:
        """Wait for the hello, if it has not come yet; set the forkserver going if it was stopped.

        Raises
        ------
        OSError
            If the forkserver says that it cannot fork.
        Unanswered
            If the forkserver dies.
        """
        if not self._greeted:
            gang.wait_readable(self.server.fileno(), seconds)
            self.hear()
        let_go_on(self.pid)

    def hear(self) -> None:
        """Take the hello if it has come.

        Raises
        ------
        OSError
            If the forkserver says that it cannot fork.
        Unanswered
            If it has died.
        """
        # asked first, because recv_fds() ignores its flags and would block
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
        # If this process has no descriptors left, fewer sockets have come; spares without one leave.
        for pid, mailbox in zip(hello["spares"], mailboxes, strict=False):
            PARENT_ONLY_FDS.add(mailbox.fileno())
            self.spares.append((pid, mailbox))
        if hello["problem"]:
            raise OSError(hello["problem"])

    def is_gone(self) -> bool:
        """Tell whether the forkserver has ended.

        The connection alone does not show that: a spare that was only just forked has a copy of the other end.
        """
        return _linux.hung_up(self.server.fileno()) or (self._greeted and _linux.has_ended(self.pid))

    def next_spare(self) -> tuple[int, socket.socket] | None:
        """Return a spare that still waits, or None."""
        while self.spares:
            pid, mailbox = self.spares.popleft()
            if not _linux.hung_up(mailbox.fileno()):
                let_go_on(pid)
                return pid, mailbox
            let_go(mailbox)
        return None

    def count_waiting(self) -> int:
        """Return how many spares wait now; 0 if the forkserver is gone, because they are of no use then."""
        with contextlib.suppress(OSError):
            self.hear()
        if self.is_gone():
            return 0
        return sum(not _linux.hung_up(mailbox.fileno()) for _, mailbox in self.spares)

    def drop_spares(self) -> bool:
        """Close the sockets of all spares, which then leave; tell whether there were any."""
        dropped = bool(self.spares)
        while self.spares:
            let_go(self.spares.popleft()[1])
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
        """Have the forkserver end what it has forked, and itself; return when that is done."""
        self.drop_spares()
        if self._process is not None and not self._greeted:
            self._process.kill()  # it has forked nothing yet, and its imports may take long
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_WR)
        self._close_guard()
        # A forkserver that has not said hello has no rank, and ends when it finds the connection closed.
        if self._greeted and not self._childless and not self._says_that_all_is_gone():
            self._kill()
        let_go(self.server)
        if self._process is not None:
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._complaints is not None:
            self._complaints.close()

    def disown(self) -> None:
        """Close the descriptors in a process that was forked from the owner of this connection."""
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
        # a descendant of the forkserver hangs in the kernel, or the forkserver itself was stopped
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


def _is_readable(connection: socket.socket, seconds: float = 0.0) -> bool:
    return bool(_linux.readable([connection.fileno()], seconds))


def let_go(ours: socket.socket) -> None:
    """Close a socket whose other end is in another process."""
    PARENT_ONLY_FDS.discard(ours.fileno())
    ours.close()


def let_go_on(pid: int) -> None:
    """Set a process going that may have been stopped."""
    if pid > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGCONT)
