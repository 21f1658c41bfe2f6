"""The process behind start method ``forkserver``: it forks the ranks of one gang, and ends with the gang.

It has imported what all ranks need, as a fresh interpreter or because a zygote forked it. It has no other thread, so
forking is safe. It talks with its gang over a packet socket::

    gang ─► "!" with descriptors: fork one rank            ─► its process id, or why not
         ─► "t": a gang has taken this forkserver
         ◄─ hello: what went wrong so far, and the spares, each with the socket that it waits at
         ◄─ process id and exit code of each rank that has exited
         ◄─ "gone": no descendant of this process is left

It adopts the processes that ranks leave behind. When the gang closes the connection or dies, it ends all its
descendants, then itself.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import time
import traceback
from typing import Any, NoReturn

from nblaunch.processes import _linux
from nblaunch.processes.child import spare
from nblaunch.processes.child.leaving import flush
from nblaunch.processes.child.rank_process import forget_ahead, fork, warm_up

__all__ = ["cut", "keep_pages_shared", "main", "prepare", "serve", "thread_count"]

_MAX_WAIT_SECONDS = 3600.0
# Seconds that processes which clean up after ranks have to end.
_MAX_CLEANING_SECONDS = 3.0
# Bytes at the end of an error that are reported.
_MAX_PROBLEM_BYTES = 1 << 14


def main(described: dict[str, Any]) -> NoReturn:
    """Serve one gang from a fresh interpreter, and leave."""
    gang = socket.socket(fileno=described["descriptors"]["control"])
    os.set_inheritable(gang.fileno(), False)
    _linux.prefer_for_oom_kill()
    # what an import prints belongs to no cell; ranks get streams of their own
    os.dup2(2, 1)
    # While imports run, this process would not notice that its parent is gone. Later it notices that the connection is
    # closed, and must end its descendants before itself.
    _linux.signal_at_parents_death(signal.SIGKILL)
    problem = prepare(described["prepare"])
    _linux.signal_at_parents_death(0)
    serve(gang, problem)


def prepare(dotted: str) -> str:
    """Import what ranks will need, and check that forking is safe; return what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    problem = warm_up(dotted)
    # every rank would write what imports have left in buffers
    flush()
    if problem:
        return problem
    threads = thread_count()
    if threads > 1:
        return f"the process that was to fork the ranks has {threads} threads, so that forking is not safe"
    keep_pages_shared()
    return ""


def thread_count() -> int:
    """Return the number of threads of this process, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))


def keep_pages_shared() -> None:
    """Keep forked processes, their garbage collectors above all, from writing to shared pages of memory."""
    forget_ahead()
    gc.collect()
    gc.freeze()


def serve(
    gang: socket.socket,
    problem: str = "",
    *,
    own_name: str = "",
    guard: int = -1,
    spares: int = 0,
    seconds: float | None = None,
    rehearse: str = "",
) -> NoReturn:
    """Serve one gang and leave.

    Parameters
    ----------
    gang : socket
        The packet socket to the gang.
    problem : str
        Why no rank can be forked; empty if all is well.
    own_name : str
        Name of the processes that are ranks; by default that of this one.
    guard : int
        Reading end of a pipe whose writing end the notebook's process holds: see `nblaunch.processes.child.spare.wait`.
    spares : int
        Number of ranks to fork ahead.
    seconds : float, optional
        Time after which a forkserver that no gang has used ends.
    rehearse : str
        See `nblaunch.processes.child.spare.wait`.
    """
    code = 0
    before = _linux.rename("nblaunch-forks")
    try:
        _linux.become_subreaper()
        if guard >= 0:
            # if it was stopped, the end of the guard's writer sets it going, so that it ends its descendants
            _linux.guard_group(guard, os.getpgrp(), signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the gang died while it was being told
            _Server(gang, problem, own_name or before, guard).serve(spares, seconds, rehearse)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(ChildProcessError):
            _end_all()
        with contextlib.suppress(OSError):
            gang.send(b'{"gone": true}')
        os._exit(code)


class _Server:
    def __init__(self, gang: socket.socket, problem: str, own_name: str, guard: int) -> None:
        self._gang = gang
        self._guard = guard
        self._name_of_ranks = own_name
        self._problem = problem
        self._ranks: set[int] = set()
        # SIGCHLD makes `wake` readable
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self, spares: int, seconds: float | None, rehearse: str) -> None:
        """Say hello, then do what the gang asks for until it hangs up."""
        hurried = _linux.readable([self._gang.fileno()], 0.0)
        # no spares if a gang waits already: to rehearse would only delay its ranks
        self._say_hello(0 if hurried or self._problem else spares, rehearse)
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            # poll has a limit for the time that it waits
            at_most = None if left is None else min(left, _MAX_WAIT_SECONDS)
            readable = _linux.readable([self._gang.fileno(), self._wake], at_most)
            if self._wake in readable:
                self._tell_exits()
            if self._gang.fileno() in readable:
                deadline = None
                if not self._obey():
                    return
            if left == 0 and not readable:
                return

    def _say_hello(self, spares: int, rehearse: str) -> None:
        pids: list[int] = []
        mailboxes: list[socket.socket] = []
        try:
            for _ in range(spares):
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                mailboxes.append(theirs)
                with ours:
                    pid = self._fork()
                    if pid == 0:
                        for mailbox in mailboxes:
                            mailbox.close()
                        spare.wait(ours, rehearse, self._guard, self._name_of_ranks)
                pids.append(pid)
                self._ranks.add(pid)
        except OSError:
            del mailboxes[len(pids) :]  # fewer spares are no harm: a rank that lacks one is forked when it is wanted
        hello = json.dumps({"pid": os.getpid(), "problem": cut(self._problem), "spares": pids}, ensure_ascii=False)
        socket.send_fds(self._gang, [hello.encode()], [mailbox.fileno() for mailbox in mailboxes])
        for mailbox in mailboxes:
            mailbox.close()

    def _fork(self) -> int:
        """Fork a process that has nothing of this one's business."""
        pid = fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for descriptor in (self._gang.detach(), self._wake, self._waker):
                os.close(descriptor)
        return pid

    def _tell_exits(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        exits, childless = _reap(self._ranks)
        for pid, exitcode in exits:
            self._gang.send(json.dumps({"exited": pid, "exitcode": exitcode, "childless": childless}).encode())

    def _obey(self) -> bool:
        """Do what the next packet says; tell whether there was one."""
        mark, descriptors, _, _ = socket.recv_fds(self._gang, 1, spare.MOST_DESCRIPTORS)
        if mark == b"!":
            self._gang.send(json.dumps(self._fork_rank(descriptors), ensure_ascii=False).encode())
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(mark)

    def _fork_rank(self, descriptors: list[int]) -> dict[str, Any]:
        parent = os.getpid()
        try:
            pid = self._fork()
        except OSError as refusal:
            return {"error": f"the system refused another process: {refusal.strerror}", "errno": refusal.errno}
        if pid == 0:
            _linux.rename(self._name_of_ranks)
            if self._guard >= 0:
                os.close(self._guard)
            spare.begin(descriptors, parent)
        self._ranks.add(pid)
        return {"pid": pid}


def cut(text: str) -> str:
    """Return the end of a text that goes into one packet."""
    return text.encode()[-_MAX_PROBLEM_BYTES:].decode(errors="ignore")


def _reap(ranks: set[int]) -> tuple[list[tuple[int, int]], bool]:
    """Reap whatever has exited; return process id and exit code of the ranks among it, and whether no child is left."""
    exits: list[tuple[int, int]] = []
    try:
        while True:
            # look first, reap later: a zombie's number cannot be given to another process group
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if seen is None:
                return exits, False
            if seen.si_pid in ranks:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(seen.si_pid, signal.SIGKILL)
            _, status = os.waitpid(seen.si_pid, 0)
            if seen.si_pid in ranks:
                ranks.discard(seen.si_pid)
                exits.append((seen.si_pid, os.waitstatus_to_exitcode(status)))
    except ChildProcessError:
        return exits, True


def _end_all() -> NoReturn:
    """Kill descendants until none is left; raises ChildProcessError then."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # raises where there is no child: the usual case
    import psutil

    from nblaunch.processes.child.cleaners import is_cleaner, takes_its_time

    # for sigtimedwait
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    deadline = time.monotonic() + _MAX_CLEANING_SECONDS
    while True:
        left = psutil.Process().children(recursive=True)
        if left and all(map(takes_its_time, left)):
            raise ChildProcessError
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                # processes that clean up end by themselves when all the others are gone
                if time.monotonic() > deadline or not is_cleaner(process):
                    process.kill()
        _wait_for_a_child(deadline)


def _wait_for_a_child(deadline: float) -> None:
    """Wait until a child has ended, at most until the deadline, and reap it; raises ChildProcessError without child."""
    while os.waitpid(-1, os.WNOHANG)[0] == 0:
        left = deadline - time.monotonic()
        signal.sigtimedwait({signal.SIGCHLD}, max(left, 0.5))
        if left <= 0:
            return
