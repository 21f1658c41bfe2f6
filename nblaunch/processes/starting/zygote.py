"""The zygote: a process that imports heavy libraries once, and then only forks forkservers.

::

    kernel ─► one packet per gang to come: its socket, how many spares, when   ─► a forkserver, which serves that gang
           ─► one packet with more modules                                    ─► a fork of it, which imports them too
           ◄─ report, once: which modules are here, and why others are not

It must have no other thread, or forking would not be safe. This is checked after every import. If a module has started
a thread, the process starts over without that module, because the thread cannot be undone. It never runs the user's
code.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from nblaunch.processes import _linux, threads
from nblaunch.processes.child.rank_process import fork
from nblaunch.processes.child.spare import GIVEN, take_on
from nblaunch.processes.starting.forkserver import cut, keep_pages_shared, prepare, serve, thread_count
from nblaunch.processes.starting.generators import remembering
from nblaunch.processes.starting.preloads import refusal, unwanted_in_zygote
from nblaunch.processes.starting.refusing_imports import Refused, refusing_imports

__all__ = ["main"]

# Seconds that threads which an import has started have to end, such as those of a pool that was only tried out.
_THREADS_MAY_END = 0.5
# Limited, because the whole report goes into one packet.
_MAX_REASON_CHARACTERS = 500


def main(described: dict[str, Any]) -> NoReturn:
    """Prepare, report, and fork a forkserver for each packet until the other end hangs up or dies."""
    code = 0
    try:
        control, guard = described["descriptors"]["control"], described["descriptors"]["guard"]
        own_name = _linux.rename("nblaunch-zygote")
        _linux.prefer_for_oom_kill()
        # the processes that it forks lead other groups, and have guards of their own
        _linux.guard_group(guard, os.getpgrp())
        if _linux.writer_is_gone(guard):
            os._exit(0)
        began = time.monotonic()
        problem = _import_all(described)
        with socket.socket(fileno=control) as kernel:
            report = {
                "problem": problem,
                "left_out": described["left_out"],
                "seconds": time.monotonic() - began,
            }
            kernel.send(json.dumps(report).encode())
            os.set_inheritable(control, False)
            os.set_inheritable(guard, False)
            _serve(kernel, guard, problem, described["rehearse"], own_name)
    except (BrokenPipeError, ConnectionResetError):
        pass
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def _import_all(described: dict[str, Any]) -> str:
    """Import the modules, and note why others are left out; return why nothing can be forked, or an empty string."""
    if _import_each(described):
        _start_over(described)
    threads.note_loaded()
    problem = prepare(described["prepare"])
    # nobody asks how a forkserver has ended; its gang hears it from the connection
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _linux.collapse_pages()
    return problem


def _import_each(described: dict[str, Any]) -> str:
    """Import modules until one does harm; return its name then, and note why it is left out."""
    left_out: dict[str, str] = described["left_out"]
    with _without_warnings(), remembering(), refusing_imports() as refused:
        for name in described["modules"]:
            if name in left_out or name in sys.modules:
                continue
            # for the client, in case this process dies or hangs
            os.write(2, f"\0importing {name}\n".encode())
            before = set(sys.modules)
            refused.clear()
            # settings may name anything
            why = refusal(name) or _import(name)
            # An import that was refused does harm too: it has left modules half imported.
            harm = _harm(sys.modules.keys() - before, refused)
            if why or harm:
                left_out[name] = cut(harm or why)[:_MAX_REASON_CHARACTERS]
            if harm:
                # Other modules of the package would mostly do the same, and each would cost a fresh start.
                package = name.partition(".")[0]
                for other in described["modules"]:
                    if other.partition(".")[0] == package and other not in before and other not in left_out:
                        left_out[other] = cut(f"it is of the same package as {name}: {harm}")[:_MAX_REASON_CHARACTERS]
                return str(name)
    return ""


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore warnings, which were shown where the notebook imported the same; keep the filters that imports set up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ignore_all = warnings.filters[0]
        yield
        filters = [one for one in warnings.filters if one is not ignore_all]
    warnings.filters[:] = filters  # type: ignore[index]


def _import(name: str) -> str:
    """Import a module; return what went wrong."""
    try:
        importlib.import_module(name)
    except (Exception, SystemExit, Refused) as error:
        return f"its import failed: {type(error).__name__}: {error}"
    return ""


def _harm(imported: Iterable[str], missing: Sequence[str]) -> str:
    """Say why this process must not be forked after an import that brought these modules; empty if it may be.

    Parameters
    ----------
    missing : sequence of str
        Packages that it has come to and was kept from.
    """
    more = _threads_that_stay()
    if more:
        return (
            f"its import starts {more} thread{'' if more == 1 else 's'}, and a process with threads must not be forked"
        )
    tops = [*missing, *sorted({name.partition(".")[0] for name in imported})]
    unwanted = next(filter(None, map(unwanted_in_zygote, tops)), "")
    return f"it imports {unwanted}" if unwanted else ""


def _threads_that_stay() -> int:
    """Return how many threads there are besides this one, after a moment for them to end."""
    deadline = time.monotonic() + _THREADS_MAY_END
    while (more := thread_count() - 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    return more


def _start_over(described: dict[str, Any]) -> NoReturn:
    """Become a fresh interpreter with the same descriptors, which leaves out what did harm."""
    file = os.fdopen(_linux.memory_file("nblaunch-rank_spec"), "wb", buffering=0)
    file.write(json.dumps(described).encode())
    file.seek(0)
    os.set_inheritable(file.fileno(), True)
    os.execve(sys.executable, [*sys.orig_argv[:-1], str(file.fileno())], GIVEN)


def _serve(kernel: socket.socket, guard: int, problem: str, rehearse: str, own_name: str) -> None:
    while True:
        data, received, _, _ = socket.recv_fds(kernel, 1 << 16, 4)
        if not data:
            return
        wanted = json.loads(data)
        if "grow" in wanted:
            _grow(kernel, guard, received, own_name)
            continue
        # wait, because the client and the processors are busy with something else now
        _linux.readable([kernel.fileno(), received[0]], wanted.pop("delay"))
        pid = fork()
        if pid == 0:
            os.close(kernel.detach())
            os.close(guard)
            os.setsid()
            _signals_of_a_forkserver()
            serve(
                socket.socket(fileno=received[0]),
                problem,
                own_name=own_name,
                guard=received[1],
                rehearse=rehearse,
                **wanted,
            )
        for descriptor in received:
            os.close(descriptor)


def _grow(kernel: socket.socket, guard: int, received: list[int], own_name: str) -> None:
    """Fork a zygote that imports more modules, in the time of those alone; it answers on a connection of its own.

    Parameters
    ----------
    received : list of int
        The connection, a guard, a file for what it writes, and a file that describes it.
    """
    pid = fork()
    if pid != 0:
        for descriptor in received:
            os.close(descriptor)
        return
    try:
        os.close(kernel.detach())
        os.close(guard)
        os.setsid()
        control, own_guard, complaints, file = received
        os.set_inheritable(control, False)
        os.set_inheritable(own_guard, False)
        os.dup2(complaints, 2)
        os.close(complaints)
        with open(file, "rb") as opened:
            described: dict[str, Any] = json.load(opened)
        sys.path[:] = described["path"]
        take_on(described["environment"]["set"], described["environment"]["removed"])
        with socket.socket(fileno=control) as own_kernel:
            own_kernel.send(json.dumps({"pid": os.getpid()}).encode())
            signal.pthread_sigmask(signal.SIG_SETMASK, set())
            _linux.guard_group(own_guard, os.getpgrp())
            if not _linux.writer_is_gone(own_guard):
                _import_more(described, own_kernel, own_guard, own_name)
    except (BrokenPipeError, ConnectionResetError):
        pass
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def _import_more(described: dict[str, Any], kernel: socket.socket, guard: int, own_name: str) -> None:
    began = time.monotonic()
    harm = _import_each(described)
    threads.note_loaded()
    report = {"problem": "", "left_out": described["left_out"], "seconds": time.monotonic() - began, "harm": harm}
    if not harm:
        keep_pages_shared()
    kernel.send(json.dumps(report).encode())
    if not harm:
        _serve(kernel, guard, "", described["rehearse"], own_name)


def _signals_of_a_forkserver() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
