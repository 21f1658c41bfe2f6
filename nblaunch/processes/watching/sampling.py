"""`Sampler`: measures the processor time and memory of ranks, from ``/proc``, while a panel shows them.

It has a thread of its own: reading a process's memory waits for a lock of that process, which may be held forever if
the process hangs in the kernel, and the thread that watches the ranks must not wait for that.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nblaunch.events import Sampled, Usage
from nblaunch.flag import Flag
from nblaunch.processes import _linux

__all__ = ["Sampler", "cpu_seconds", "family"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Seconds that one look may spend on memory: the kernel walks all pages of a process, which takes 1.5 ms with torch
# imported. Of many ranks, each is measured less often.
_BUDGET = 0.05


@dataclass
class _Seen:
    """What was seen of a rank at the last look."""

    cpu_seconds: float
    at: float
    memory: int = 0
    memory_at: float = 0.0


class Sampler:
    """Looks at processes in regular intervals, from `start` until it is closed.

    Parameters
    ----------
    pids : callable
        Returns the process ids of the running ranks by rank.
    tell : callable
        Gets a `Sampled` at each look, in the sampler's thread.
    period : float
        Seconds between two looks.
    """

    def __init__(self, pids: Callable[[], Mapping[int, int]], tell: Callable[[Sampled], None], period: float) -> None:
        self._pids = pids
        self._tell = tell
        self._period = period
        self._closed = Flag()
        self._seen: dict[int, _Seen] = {}
        # a daemon: see above
        self._thread = threading.Thread(target=self._look_again_and_again, name="nblaunch-sampler", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; does not wait for a look that hangs."""
        self._closed.set()

    def join(self, timeout: float) -> None:
        """Wait until the thread is gone, at most so many seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _look_again_and_again(self) -> None:
        self._look()
        while not self._closed.wait(self._period):
            self._tell(Sampled(self._look(), time.monotonic()))

    def _look(self) -> dict[int, Usage]:
        families = {rank: family(pid) for rank, pid in self._pids().items()}
        usage = {}
        for rank, members in families.items():
            if self._closed.is_set():
                break
            now = time.monotonic()
            seconds = sum(map(cpu_seconds, members))
            before = self._seen.setdefault(rank, _Seen(seconds, now))
            # not below 0: the time of a child that has ended does not count any more
            spent, passed = max(0.0, seconds - before.cpu_seconds), now - before.at
            before.cpu_seconds, before.at = seconds, now
            usage[rank] = Usage(round(100 * spent / passed, 1) if passed > 0 else 0.0, before.memory)
        self._ask_for_memory(families)
        return {rank: Usage(used.cpu, self._seen[rank].memory) for rank, used in usage.items()}

    def _ask_for_memory(self, families: Mapping[int, list[int]]) -> None:
        began = time.monotonic()
        # ranks that were measured longest ago come first
        for rank in sorted(families, key=lambda rank: self._seen[rank].memory_at if rank in self._seen else 0.0):
            if self._closed.is_set() or time.monotonic() - began > _BUDGET:
                break
            if rank in self._seen:
                self._seen[rank].memory = sum(map(_memory, families[rank]))
                self._seen[rank].memory_at = time.monotonic()


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for member in found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{member}/task"):
                with contextlib.suppress(OSError):
                    # needs CONFIG_PROC_CHILDREN; without it descendants do not count
                    found += map(int, _read(f"/proc/{member}/task/{thread}/children").split())
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, 0 if it is gone."""
    try:
        fields = _linux.stat_of(pid)  # utime and stime
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except (OSError, IndexError):
        return 0.0  # it has just ended


def _memory(pid: int) -> int:
    """Return bytes of memory, shared pages divided among processes (PSS); RSS if PSS may not be read."""
    try:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
