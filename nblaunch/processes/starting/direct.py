"""The start methods whose ranks are children of this process: ``spawn``, ``fork``, and programs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial

from nblaunch.processes import _linux
from nblaunch.processes.child.rank_process import fork, run_forked
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.numa import on_cpus
from nblaunch.processes.redirects import get_libc
from nblaunch.processes.starting.base import Preparation, StartMethod, Watch, is_gone, spawn_interpreter, start_program

__all__ = ["Fork", "Program", "Spawn"]


class _DirectChildren(StartMethod):
    """Ranks that are children of this process."""

    def __init__(self, gang: Watch, rank_specs: Sequence[RankSpec], preparation: Preparation) -> None:
        super().__init__(gang, rank_specs, preparation)
        self._running: dict[int, tuple[int, Callable[[], int]]] = {}

    def _expect_exit(self, pid: int, reap: Callable[[], int]) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor is left, so that the exit of this process would go unnoticed
            os.kill(pid, signal.SIGKILL)
            reap()
            raise
        self._running[pid] = pidfd, reap
        self._gang.watch(pidfd, partial(self._exited, pid))

    def _exited(self, pid: int) -> None:
        pidfd, reap = self._running.pop(pid)
        self._gang.unwatch(pidfd)
        os.close(pidfd)
        # The rest of its process group is ended with it. Until the process is reaped, the group's id cannot belong to
        # another one.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._gang.exited(pid, reap())

    def close(self) -> None:
        """Kill and reap what is left after a failure of the gang itself."""
        while self._running:
            pid, (pidfd, reap) = self._running.popitem()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            if is_gone(pidfd):
                reap()
            os.close(pidfd)


class Spawn(_DirectChildren):
    """A fresh interpreter per rank."""

    def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        """Start an interpreter; see `StartMethod.start`."""
        # the process inherits the blocked signal; the rank unblocks it when its own code begins
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = spawn_interpreter("child.rank_process", rank_spec, descriptors, self._preparation)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._expect_exit(process.pid, process.wait)
        return process.pid


class Program(_DirectChildren):
    """A program per rank, without any code of nblaunch in its process.

    Only the guard pipe ends it when this process dies: from just after its start, and as long as the program does not
    close descriptors that it does not know.
    """

    def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        """Start the program; see `StartMethod.start`."""
        with on_cpus(frozenset(rank_spec.cpus)):
            process = start_program(rank_spec, rank_spec.command, (descriptors.guard,))
        _linux.guard_group(descriptors.guard, process.pid)
        self._expect_exit(process.pid, process.wait)
        return process.pid


class Fork(_DirectChildren):
    """A copy of this process per rank, with all that is in its memory."""

    def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        """Fork; see `StartMethod.start`."""
        parent = os.getpid()
        _flush_streams()
        with warnings.catch_warnings():
            # Python 3.12 warns of other threads, and the user has asked for fork all the same
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
            pid = fork()
        if pid == 0:
            run_forked(rank_spec, descriptors, parent, inherited)
        self._expect_exit(pid, partial(_wait, pid))
        return pid


def _flush_streams() -> None:
    """Write out the buffers, which a rank would write once more if the fork copied them."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # any object may be there as a stream, and if it fails, the ranks are started all the same
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.flush()
    libc = get_libc()
    for name in ("stdout", "stderr"):
        libc.fflush(ctypes.c_void_p.in_dll(libc, name))


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
