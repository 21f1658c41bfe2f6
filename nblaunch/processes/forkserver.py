"""The helper behind start method ``forkserver``: imports once what all ranks need, then only forks.

It talks with its gang over a packet socket: a packet with descriptors (the request as a file, then those of the rank)
makes one rank; the answer is its process id; later comes its exit code. It holds no thread, so forking is safe. It
adopts what ranks leave behind and, when the gang hangs up or dies, ends everything below it, then itself.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import traceback
from typing import Any, NoReturn

from nblaunch.processes import _linux
from nblaunch.processes.child import Birth, Descriptors, fork, run_forked, warm_up

__all__ = ["main"]

# Bytes of an error's end that are told.
_LONGEST_PROBLEM = 1 << 14


def main(described: dict[str, Any]) -> NoReturn:
    """Serve one gang and leave."""
    gang = socket.socket(fileno=described["descriptors"]["control"])
    os.set_inheritable(gang.fileno(), False)
    code = 0
    try:
        _linux.become_subreaper()
        # While imports run, nobody would notice that the gang is gone; later the end of the connection tells, and
        # then there are descendants to be ended first.
        _linux.signal_at_parents_death(signal.SIGKILL)
        problem = _prepare(described["prepare"])
        _linux.signal_at_parents_death(0)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the gang died while it was being told
            _serve(gang, problem)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(ChildProcessError):
            _end_all()
        os._exit(code)


def _prepare(dotted: str) -> str:
    """Import what ranks will need and see to it that forking is safe; return what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    problem = warm_up(dotted)
    if problem:
        return problem
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"the process that was to fork the ranks has {threads} threads, so that forking is not safe"
    # keeps the collector of a rank from writing to, and thereby copying, pages that all ranks share
    gc.collect()
    gc.freeze()
    return ""


def _cut(text: str) -> str:
    return text.encode()[-_LONGEST_PROBLEM:].decode(errors="ignore")


def _serve(gang: socket.socket, problem: str) -> None:
    ranks: set[int] = set()
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([gang.fileno(), wake], [], [])
        if wake in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            for pid, exitcode in _reap(ranks):
                gang.send(json.dumps({"exited": pid, "exitcode": exitcode}).encode())
        if gang.fileno() in readable:
            mark, descriptors, _, _ = socket.recv_fds(gang, 1, 4)
            if not mark:
                return
            answer: dict[str, Any]
            if problem:
                answer = {"error": _cut(problem)}
            else:
                answer = _fork(_request(descriptors[0]), descriptors[1:], (gang.fileno(), wake, waker))
            for descriptor in descriptors:
                os.close(descriptor)
            if "pid" in answer:
                ranks.add(answer["pid"])
            gang.send(json.dumps(answer, ensure_ascii=False).encode())


def _request(descriptor: int) -> dict[str, Any]:
    # in a file of its own, because an environment can be larger than a packet may be
    with open(descriptor, "rb", closefd=False) as file:
        request: dict[str, Any] = json.load(file)
    return request


def _fork(request: dict[str, Any], descriptors: list[int], private: tuple[int, ...]) -> dict[str, Any]:
    parent = os.getpid()
    try:
        pid = fork()
    except OSError as refusal:
        return {"error": f"the system refused another process: {refusal}"}
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for descriptor in private:
            os.close(descriptor)
        env = {name: value for name, value in os.environ.items() if name not in request["removed"]}
        payload = descriptors[1] if len(descriptors) == 3 else -1
        run_forked(
            Birth(env=env | request["changed"], **request["birth"]),
            Descriptors(descriptors[0], payload, descriptors[-1]),
            parent,
        )
    return {"pid": pid}


def _reap(ranks: set[int]) -> list[tuple[int, int]]:
    """Reap whatever has exited; return process id and exit code of the ranks among it."""
    exits = []
    with contextlib.suppress(ChildProcessError):
        while True:
            # look first, reap later: a zombie's number cannot be given to another process group
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if seen is None:
                break
            if seen.si_pid in ranks:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(seen.si_pid, signal.SIGKILL)
            _, status = os.waitpid(seen.si_pid, 0)
            if seen.si_pid in ranks:
                ranks.discard(seen.si_pid)
                exits.append((seen.si_pid, os.waitstatus_to_exitcode(status)))
    return exits


def _end_all() -> NoReturn:
    """Kill descendants until none is left; ends with ChildProcessError."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # raises where there is no child: the usual case
    import psutil

    while True:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        os.waitpid(-1, 0)
