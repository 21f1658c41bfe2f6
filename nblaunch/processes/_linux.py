"""What only Linux offers: ends of processes that cannot be missed, and files that live in memory only."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
from collections.abc import Iterable

from nblaunch.payload.memory import memory_file

__all__ = [
    "become_subreaper",
    "collapse_pages",
    "die_with_parent",
    "guard_group",
    "has_ended",
    "hung_up",
    "memory_file",
    "own_description",
    "prefer_for_oom_kill",
    "punch_hole",
    "readable",
    "rename",
    "signal_at_parents_death",
    "signal_main_thread",
    "writer_is_gone",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_GET_NAME = 16
_PR_SET_CHILD_SUBREAPER = 36
_MADV_COLLAPSE = 25
_HUGE_PAGE = 1 << 21
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
_F_SETSIG = 10  # fcntl.F_SETSIG is missing from some builds
_PARENT_DIED = signal.SIGRTMAX  # one that hardly anybody uses for anything else

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def die_with_parent(guard: int, parent: int) -> None:
    """Make sure that this process, the leader of its process group, does not outlive the process that started it.

    Two guards, because each has a hole: `guard_group` fails if somebody else got hold of the pipe's writing end by
    forking from the parent; the signal at the parent's death (``PR_SET_PDEATHSIG``) is lost on a process that is stuck
    in C code. That signal must not be SIGKILL itself: it comes when the parent's *thread* that forked is gone, and the
    pipe is closed when its last thread is. A process that is killed in between takes its guard along, and the members
    of its group would live on.

    Parameters
    ----------
    guard : int
        Reading end of the pipe, see `guard_group`. It must stay open.
    parent : int
        Process id of the parent.
    """
    signal.signal(_PARENT_DIED, _end_group)
    signal_at_parents_death(_PARENT_DIED)
    guard_group(guard, os.getpgrp())
    # the parent may have died before the guards stood
    if os.getppid() != parent or writer_is_gone(guard):
        _end_group()


def _end_group(*_: object) -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def guard_group(guard: int, group: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel signal a process group when the last writer of a pipe is gone.

    The owner of a pipe's reading end is signalled when its state changes (``O_ASYNC``, ``F_SETOWN``, ``F_SETSIG``:
    fcntl(2)). Here the owner is the group and the signal mostly SIGKILL, so the end of the one process that holds the
    writing end takes grandchildren with it. No thread waits for it: it works while C code holds the interpreter
    lock, and the guarded process stays single-threaded for those who fork from it.

    Parameters
    ----------
    guard : int
        Reading end of a pipe that is never written to, non-blocking, with an open file description of its own.
    group : int
        Process group.
    number : int
        The signal.
    """
    fcntl.fcntl(guard, fcntl.F_SETOWN, -group)
    fcntl.fcntl(guard, _F_SETSIG, number)
    fcntl.fcntl(guard, fcntl.F_SETFL, fcntl.fcntl(guard, fcntl.F_GETFL) | os.O_ASYNC)


def own_description(descriptor: int) -> int:
    """Open the file behind a descriptor once more, so that owner and flags are not shared with the other one."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def writer_is_gone(guard: int) -> bool:
    """Tell whether it has gone already, of which `guard_group` hears nothing."""
    with contextlib.suppress(BlockingIOError):
        return os.read(guard, 1) == b""
    return False


def signal_at_parents_death(number: int) -> None:
    """Have the kernel send this process a signal when the thread that started it is gone; 0 is none (prctl(2))."""
    _prctl(_PR_SET_PDEATHSIG, number)


def become_subreaper() -> None:
    """Adopt descendants whose parent dies, so that they can be found and ended (prctl(2))."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def rename(name: str) -> str:
    """Give this process a name that ``ps`` and ``top`` show, of at most 15 characters; return the one that it had."""
    buffer = ctypes.create_string_buffer(16)
    _libc.prctl(_PR_GET_NAME, buffer, 0, 0, 0)
    _libc.prctl(_PR_SET_NAME, name.encode(errors="surrogateescape"), 0, 0, 0)
    return buffer.value.decode(errors="surrogateescape")


def prefer_for_oom_kill() -> None:
    """Have the kernel choose this process, or one that it forks, before others when memory has run out.

    Memory files count for no process in particular. Without this, one that has little memory of its own, such as the
    notebook's kernel, is ended for what ranks have written (``oom_score_adj``, proc_pid_oom_score_adj(5)).
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def readable(descriptors: Iterable[int], seconds: float | None) -> list[int]:
    """Wait until one of the descriptors is readable or hung up; return those that are.

    Parameters
    ----------
    descriptors : iterable of int
        Any number above 1023 included, which ``select`` does not know.
    seconds : float or None
        The longest wait; None is without end.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(None if seconds is None else seconds * 1000)]


def hung_up(descriptor: int) -> bool:
    """Tell whether the other end of a connection is gone, whatever it has left to be read."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended, reaped or not."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(readable([pidfd], 0.0))
    finally:
        os.close(pidfd)


def stat_of(pid: int) -> list[bytes]:
    """Return the fields of ``/proc/PID/stat`` (proc_pid_stat(5)) from the third on, the state, which has index 0.

    Raises
    ------
    OSError
        If the process is gone, or its state cannot be read.
    """
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        # behind the name, which may hold anything
        return file.read().rpartition(b")")[2].split()


def signal_main_thread(pid: int, number: int) -> None:
    """Send a signal to the main thread of a process, and to no other one of it.

    Raises
    ------
    ProcessLookupError, PermissionError
        As `os.kill`.
    """
    send = getattr(_libc, "tgkill", None)
    if send is None:  # musl; the kernel prefers the main thread too, unless that one blocks the signal
        os.kill(pid, number)
    elif send(pid, pid, int(number)) != 0:
        reason = ctypes.get_errno()
        raise OSError(reason, f"tgkill: {os.strerror(reason)}")


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give back the space that part of a file takes; it reads as zeros then, and the file keeps its size.

    Raises
    ------
    OSError
        If the file system does not know how (``EOPNOTSUPP``, fallocate(2)), or for another reason.
    """
    if _libc.fallocate(descriptor, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"fallocate: {os.strerror(number)}")


def collapse_pages() -> None:
    """Move this process's own memory into huge pages where the kernel can, so that forking it copies less.

    A fork copies, and an exit takes down, one entry for each page of private memory; after an import of torch these are
    some 40,000, or some hundred when the pages are huge (``MADV_COLLAPSE``, Linux 6.1, madvise(2)). A process that
    writes to a huge page that it shares gets a copy of the small page only. Where the kernel refuses, nothing changes.
    """
    with open("/proc/self/maps") as file:
        regions = [line.split(maxsplit=5) for line in file]
    for addresses, permissions, _, _, _, *name in regions:
        begin, end = (int(address, 16) for address in addresses.split("-"))
        if permissions != "rw-p" or (name and name[0].strip() != "[heap]"):
            continue
        for address in range(-(-begin // _HUGE_PAGE) * _HUGE_PAGE, end - _HUGE_PAGE + 1, _HUGE_PAGE):
            _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(_HUGE_PAGE), _MADV_COLLAPSE)
