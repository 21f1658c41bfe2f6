"""`OutOfMemory`: evidence that the kernel has killed a process because memory ran out.

A process that is ended with SIGKILL cannot say why. The kernel counts the processes that it kills for want of memory,
before it sends the signal: for each cgroup in ``memory.events`` (version 2, with the cgroups below it) or
``memory.oom_control`` (version 1), and for the whole machine in ``/proc/vmstat``. All three are lines of a key and a
number, and the key is ``oom_kill``; see "Memory Interface Files" in the kernel's
Documentation/admin-guide/cgroup-v2.rst and "OOM Control" in Documentation/admin-guide/cgroup-v1/memory.rst. Where the
files are is said by ``/proc/self/cgroup`` (cgroups(7)) and ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

__all__ = ["OutOfMemory"]

_OCTAL = re.compile(r"\\([0-7]{3})")


class OutOfMemory:
    """Processes that the kernel has killed for want of memory since this was made, one by one.

    The count of the nearest cgroup that has one is taken, else that of the machine: a kill in somebody else's container
    is no evidence.

    Parameters
    ----------
    proc : str
        Where ``proc`` is mounted.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._file, self._name, self._known = "", "", 0
        for file, name in _counters(proc):
            count = _kills(file)
            if count is not None:
                self._file, self._name, self._known = file, name, count
                break
        self._at_first = self._known

    def evidence(self) -> str:
        """Say that the kernel has killed one more process than earlier calls have told of; empty if it has not."""
        count = _kills(self._file) if self._file else None
        if count is None or count <= self._known:
            return ""
        self._known += 1
        more = count - self._at_first
        return f"{self._name} counts {more} kill{'' if more == 1 else 's'} more"


def _counters(proc: str) -> Iterator[tuple[str, str]]:
    """Yield files that may have a count and what they are called, nearest first."""
    for mount, path, file in _cgroups(proc):
        while True:
            yield os.path.join(mount, path, file), f"{file} of its cgroup"
            if not path:
                break
            path = os.path.dirname(path)
    yield os.path.join(proc, "vmstat"), "/proc/vmstat"


def _cgroups(proc: str) -> Iterator[tuple[str, str, str]]:
    """Yield where each hierarchy that may count memory is mounted, this process's place below, and the file's name."""
    try:
        with open(os.path.join(proc, "self/cgroup"), encoding="utf-8", errors="surrogateescape") as file:
            places = [line.rstrip("\n").split(":", 2) for line in file]
        with open(os.path.join(proc, "self/mountinfo"), encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return
    for _, controllers, path in (place for place in places if len(place) == 3):
        if controllers and "memory" not in controllers.split(","):
            continue
        for fields in mounts:
            # what follows the separator is the type of the file system, its source and its options
            if "-" not in fields[6:] or len(fields) < fields.index("-", 6) + 4:
                continue
            kind, _, options = fields[fields.index("-", 6) + 1 :][:3]
            fits = kind == "cgroup" and "memory" in options.split(",") if controllers else kind == "cgroup2"
            if fits:
                root, mount = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), field) for field in fields[3:5])
                name = "memory.oom_control" if controllers else "memory.events"
                yield mount, _below(path, root), name


def _below(path: str, root: str) -> str:
    # a mount may show part of the hierarchy only, as in a container, and this process may live outside of it
    place = os.path.relpath(path, root)
    return "" if place == "." or f"{place}/".startswith("../") else place


def _kills(file: str) -> int | None:
    try:
        with open(file, encoding="ascii") as lines:
            for line in lines:
                key, _, number = line.partition(" ")
                if key == "oom_kill":
                    return int(number)
    except (OSError, ValueError):
        return None
    return None
