"""The gang's side of start method ``forkserver``; the helper's side is `nblaunch.processes.forkserver`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from typing import Any

from nblaunch.processes import _linux
from nblaunch.processes.child import Birth, Descriptors
from nblaunch.processes.starting import PARENT_ENDS, PATIENCE, StartMethod, is_gone, spawn_interpreter

__all__ = ["Forkserver"]


class Forkserver(StartMethod):
    """Forks of one helper process, which is started for this gang, has imported what all ranks need, and goes with it.

    The helper adopts what a rank leaves behind, even in other sessions, and ends it; its side is
    `nblaunch.processes.forkserver`.
    """

    _process: subprocess.Popen[bytes] | None = None
    _ready = False

    def start(self, birth: Birth, descriptors: Descriptors, inherited: object) -> int:
        """Have the helper fork; see `StartMethod.start`."""
        if self._process is None:
            self._start_helper(birth)
        changed = {name: value for name, value in birth.env.items() if self._env.get(name) != value}
        removed = [name for name in self._env if name not in birth.env]
        request = json.dumps({"birth": birth.as_json(), "changed": changed, "removed": removed}).encode()
        try:
            with open(_linux.memory_file("nblaunch-request"), "wb") as file:
                file.write(request)
                file.flush()
                file.seek(0)
                socket.send_fds(self._helper, [b"!"], (file.fileno(), *descriptors.given()))
            answer = self._answer()
            while "exited" in answer:
                self._note_exit(answer)
                answer = self._answer()
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
            self._complaints.close()
            if not self._ready:
                self._process.kill()  # it has forked nothing yet, and may import for long
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()  # one of its descendants hangs in the kernel and cannot be waited for
                self._process.wait()
            self._process = None

    def _start_helper(self, birth: Birth) -> None:
        self._helper, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        PARENT_ENDS.add(self._helper.fileno())
        self._env = birth.env
        self._pids: set[int] = set()
        # what it says if it dies; ranks whose stderr is not redirected write where their parent does
        self._complaints = open(_linux.memory_file("nblaunch-forkserver"), "r+b", buffering=0)
        with theirs:
            self._process = spawn_interpreter(
                "forkserver",
                birth,
                Descriptors(theirs.fileno(), -1, -1),
                self._prepare,
                stderr=self._complaints if birth.stderr else None,
            )
        self._gang.watch(self._helper.fileno(), self._readable)

    def _answer(self) -> dict[str, Any]:
        self._gang.wait_readable(self._helper.fileno())
        answer = self._receive()
        self._ready = True
        return answer

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
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip()
        return f"the process that was to fork the ranks has ended (exit code {code})" + (f":\n{said}" if said else "")


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
