"""Files in memory, and how much memory is available for them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from nblaunch.wording import in_words, listed

__all__ = ["NotEnoughMemory", "available_memory", "memory_file", "require_memory", "shortage"]

# Bytes below which available memory is not looked at: so little may be taken by another process a moment later.
_MIN_CHECKED = 16 << 20
# Bytes of available memory that are left to other programs.
_RESERVE = 64 << 20
# Limits of control groups, in bytes, that mean no limit.
_UNLIMITED = 1 << 60


class NotEnoughMemory(OSError):
    """The objects to be sent do not fit into the memory that is available; none of that memory stays taken."""


def memory_file(name: str, *, sealable: bool = False) -> int:
    """Return the descriptor of a new file in memory, which is freed with its last descriptor (memfd_create(2)).

    Parameters
    ----------
    name : str
        Shown in ``/proc/<pid>/fd``.
    sealable : bool
        Whether seals may be put on it.

    Raises
    ------
    OSError
        If the system has no such files, or gives no more descriptors.
    """
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC | (os.MFD_ALLOW_SEALING if sealable else 0))
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        raise OSError(
            "this system gives no files in memory (memfd_create), which nblaunch needs to send objects to processes: "
            "it takes Linux 5.3 or newer, and a sandbox (seccomp) that allows memfd_create"
        ) from None


def require_memory(size: int, largest: dict[str, int]) -> None:
    """Check that a memory file of `size` bytes would fit.

    Parameters
    ----------
    size : int
        Bytes.
    largest : dict of str to int
        Bytes by name of the object, for the message.

    Raises
    ------
    NotEnoughMemory
        If it would not fit.
    """
    if size < _MIN_CHECKED:
        return
    free = available_memory() - _RESERVE
    if size > free:
        raise shortage(size, largest, f"{in_words(max(0, free))} are available")


def shortage(size: int, largest: dict[str, int], found: str) -> NotEnoughMemory:
    """Return the error that says how much memory is needed, what for, and how much there is (`found`)."""
    what = f" ({listed(largest)})" if largest else ""
    return NotEnoughMemory(
        f"{in_words(size)} of memory are needed to send the objects{what}, but {found}. Send less, or save large "
        "data to a file and open it on the other side, for example with numpy.load(path, mmap_mode='r')"
    )


def available_memory() -> int:
    """Return how many bytes of memory this process can still use, by the machine and its control groups."""
    return min([_machine(), *_control_groups()])


def _machine() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = {line.partition(":")[0]: line.split()[1] for line in file}
        return (int(fields["MemAvailable"]) + int(fields["SwapFree"])) * 1024
    except (OSError, KeyError, IndexError, ValueError):
        return _UNLIMITED


def _control_groups(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> Iterator[int]:
    """Yield the bytes that each memory limit of this process leaves, for control groups of version 2 and 1."""
    try:
        with open(membership, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            names = f"{root}/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        mount, limit, usage, reclaimable = names
        # in a container the path may be the host's, while the container's own group is the mount itself
        folders = {mount}
        while path not in ("", "/"):
            folders.add(mount + path)
            path = os.path.dirname(path)
        for folder in folders:
            left = _left_in(folder, limit, usage, reclaimable)
            if left is not None:
                yield left


def _left_in(folder: str, limit: str, usage: str, reclaimable: str) -> int | None:
    try:
        with open(os.path.join(folder, limit), encoding="ascii") as file:
            allowed = int(file.read())  # "max" is no number
        if allowed >= _UNLIMITED:
            return None
        with open(os.path.join(folder, usage), encoding="ascii") as file:
            used = int(file.read())
        with open(os.path.join(folder, "memory.stat"), encoding="ascii") as file:
            fields = dict(line.split() for line in file)
        return max(0, allowed - used + int(fields.get(reclaimable, 0)))
    except (OSError, ValueError):
        return None
