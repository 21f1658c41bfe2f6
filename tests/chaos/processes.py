"""Which processes there are below the driver, and waiting until they are gone.

The driver adopts whatever loses its parent (``PR_SET_CHILD_SUBREAPER``), so that nothing can get away from under it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from nblaunch.processes import _linux

__all__ = ["Process", "Watcher", "end"]

# What stays after a run on purpose.
HELPERS = ("nblaunch-zygote", "nblaunch-forks", "nblaunch-spare")


@dataclass(frozen=True)
class Process:
    """A process as it was seen."""

    pid: int
    parent: int
    name: str
    state: str

    def is_helper(self) -> bool:
        """Tell whether it is one of those that stay; a zygote that was killed is reaped when the next run begins."""
        return self.name in HELPERS

    def described(self) -> str:
        """Say what it is, and where in the kernel it waits."""
        parts = [f"pid {self.pid} (parent {self.parent}), {self.name}, state {self.state}"]
        for name in ("wchan", "cmdline"):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{self.pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parts.append(f"{name}: {text.strip()[:200]}")
        return "; ".join(parts)


class Watcher:
    """Looks at the processes below this one that were not there when it began."""

    def __init__(self) -> None:
        _linux.become_subreaper()
        self._before = {one.pid for one in _all() if one.parent == os.getpid()}

    def close(self) -> None:
        """Adopt nobody any more."""
        _linux._prctl(_linux._PR_SET_CHILD_SUBREAPER, 0)

    def below(self, kernel: int) -> list[Process]:
        """Return all processes below this one but the kernel itself, those that were adopted included."""
        found = _all()
        children: dict[int, list[Process]] = {}
        for one in found:
            children.setdefault(one.parent, []).append(one)
        todo = [one for one in children.get(os.getpid(), []) if one.pid not in self._before]
        below: list[Process] = []
        while todo:
            one = todo.pop()
            todo += children.get(one.pid, [])
            if one.pid == kernel:
                continue
            if one.parent == os.getpid() and one.state == "Z":
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(one.pid, os.WNOHANG)
                continue
            below.append(one)
        return below

    def ranks(self, kernel: int) -> list[Process]:
        """Return those that should not outlive a run."""
        return [one for one in self.below(kernel) if not one.is_helper()]

    def wait_until_gone(self, kernel: int, patience: float, *, helpers: bool) -> tuple[list[Process], float]:
        """Wait until no rank is left, or nothing at all; return what is left after all, and the seconds it took."""
        began = time.monotonic()
        look = self.below if helpers else self.ranks
        while left := look(kernel):
            if time.monotonic() - began > patience:
                return left, patience
            pidfd = -1
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(left[0].pid)
            if pidfd >= 0:
                # its children come into sight when it is gone
                _linux.readable([pidfd], 0.5)
                os.close(pidfd)
        return [], time.monotonic() - began


def marked(token: str) -> list[int]:
    """Return the processes, wherever they are, whose environment names this run.

    Without helpers: a zygote that a run has made keeps the environment that it was started with.
    """
    mark = f"NBCHAOS={token}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            name = path.with_name("comm").read_text().strip()
            if name not in HELPERS and mark in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def end(pid: int, name: str = "SIGKILL", *, wait: bool = False) -> bool:
    """Signal a process that may be gone already; with `wait`, return when it is. Tell whether it was there."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.Signals[name])
        if wait and name == "SIGKILL":
            _linux.readable([pidfd], 10.0)
    finally:
        os.close(pidfd)
    return True


def _all() -> list[Process]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue  # gone since it was listed
        pid, _, rest = text.partition(" (")
        name, _, fields = rest.rpartition(") ")
        state, parent, *_ = fields.split()
        found.append(Process(int(pid), int(parent), name, state))
    return found
