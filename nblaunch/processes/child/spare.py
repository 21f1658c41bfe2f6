"""A spare: a process that was forked ahead, has rehearsed, and waits until it is told which rank it becomes.

One packet tells it, the same that a forkserver gets for a rank that is to be forked at once: a file with the rank's
`RankSpec`, and the rank's descriptors.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import logging
import os
import socket
import sys
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import fields
from logging.handlers import MemoryHandler
from typing import Any, NoReturn

from nblaunch.payload import MOST_FILES, pack, store
from nblaunch.processes import _linux, threads
from nblaunch.processes.child.leaving import flush
from nblaunch.processes.child.rank_process import become_rank, configure_process, leave_parent
from nblaunch.processes.child.rank_spec import MOST_BAGS, Descriptors, RankSpec

__all__ = ["GIVEN", "MOST_DESCRIPTORS", "Description", "begin", "take_on", "wait"]

# The environment that this process was started with: libraries may change `os.environ` when they are imported.
GIVEN = dict(os.environ)
# Descriptors in the packet that describes a rank: the file, and the rank's own.
MOST_DESCRIPTORS = len(fields(Descriptors)) + MOST_FILES + MOST_BAGS


class Description:
    """The packet that tells a process which rank it is to become.

    Parameters
    ----------
    rank_spec, descriptors
        Describe the rank. The descriptors must stay open until the packet is sent.
    environment : dict of str to str
        The environment that the process has so far.

    Raises
    ------
    OSError
        If there are no descriptors left.
    """

    def __init__(self, rank_spec: RankSpec, descriptors: Descriptors, environment: dict[str, str]) -> None:
        told = {
            "rank_spec": rank_spec.as_json(),
            "changed": dict(rank_spec.env.items() - environment.items()),
            "removed": list(environment.keys() - rank_spec.env.keys()),
            "descriptors": descriptors.as_json(),
        }
        # in a file of its own, because an environment can be larger than a packet may be
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(open(_linux.memory_file("nblaunch-rank_spec"), "wb", buffering=0))
            self._file.write(json.dumps(told).encode())
            self._file.seek(0)
            stack.pop_all()
        self._descriptors = [self._file.fileno(), *descriptors.given()]

    def close(self) -> None:
        """Close it, unsent."""
        self._file.close()

    def send(self, mailbox: socket.socket) -> None:
        """Send it to a forkserver, for a rank that is to be forked, or to a spare.

        Raises
        ------
        OSError
            If nobody listens.
        """
        with self._file:
            socket.send_fds(mailbox, [b"!"], self._descriptors)


def _understand(received: list[int]) -> tuple[RankSpec, Descriptors]:
    with open(received[0], "rb") as file:
        told: dict[str, Any] = json.load(file)
    kept = {name: value for name, value in _environment().items() if name not in told["removed"]}
    rank_spec = RankSpec(env=kept | told["changed"], **told["rank_spec"])
    threads.tell_loaded(rank_spec.env)
    _take_fresh_entropy()
    return rank_spec, Descriptors.from_json(told["descriptors"]).renumbered(received[1:])


def take_on(changed: Mapping[str, str], removed: Iterable[str]) -> None:
    """Change environment variables, as if this process had been started with them."""
    environments: tuple[MutableMapping[str, str], ...] = (GIVEN, os.environ)
    for variables in environments:
        for name in removed:
            variables.pop(name, None)
        variables.update(changed)


@functools.cache
def _environment() -> dict[str, str]:
    """Return the variables that this process was started with, and those that libraries have added."""
    return {name: value for name, value in os.environ.items() if name not in GIVEN} | GIVEN


_fresh_in = -1  # id of the process that has taken fresh entropy


def _take_fresh_entropy() -> None:
    # NumPy's generator would give every fork the same numbers; Python reseeds that of `random` itself. A spare does
    # this while it rehearses.
    global _fresh_in
    if "numpy.random" in sys.modules and _fresh_in != os.getpid():
        _fresh_in = os.getpid()
        sys.modules["numpy.random"].seed()


def begin(received: list[int], parent: int) -> NoReturn:
    """Become the rank of a `Description`, in a process that has just been forked.

    Parameters
    ----------
    received : list of int
        The descriptors of the packet.
    parent : int
        Process id of the forkserver.
    """
    try:
        _leave_forkserver()
        become_rank(*_understand(received), parent)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def wait(mailbox: socket.socket, rehearse: str, guard: int, own_name: str) -> NoReturn:
    """Rehearse, then wait at the mailbox; become a rank, or leave when it is closed.

    Parameters
    ----------
    mailbox : socket
        Packet socket whose other end only the gang has.
    rehearse : str
        ``"module:function"`` to call with a `Context` whose messages nobody reads.
    guard : int
        Reading end of a pipe, -1 if there is none. This process is killed when the pipe has no writer any more, even
        while it is stopped.
    own_name : str
        Name of the process when it is a rank.
    """
    try:
        _linux.rename("nblaunch-spare")
        parent = os.getppid()
        _leave_forkserver()
        until_begun = contextlib.ExitStack()
        if guard >= 0:
            own_guard = _linux.own_description(guard)
            until_begun.callback(os.close, own_guard)
            _linux.guard_group(own_guard, os.getpgrp())
            os.close(guard)
        _rehearse(rehearse)
        _give_way(until_begun)
        mark, received, _, _ = socket.recv_fds(mailbox, 1, MOST_DESCRIPTORS)
        mailbox.close()
        if mark:
            _linux.rename(own_name)
            become_rank(*_understand(received), parent, configured=until_begun.close)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _give_way(until_begun: contextlib.ExitStack) -> None:
    """Use the scheduling policy SCHED_BATCH until user code starts, so that waking this process preempts no other.

    The supervisor wakes one spare after the other. On few cores, each spare would run before the next one is woken.
    """
    with contextlib.suppress(OSError):  # a container may forbid it
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            until_begun.callback(os.sched_setscheduler, 0, os.SCHED_OTHER, os.sched_param(0))


def _leave_forkserver() -> None:
    leave_parent()
    # Records must not stay in a MemoryHandler's buffer. Other handlers of libraries buffer nothing, and closing them
    # would take longer than everything else that a rank does at its end.
    handlers = getattr(logging, "_handlerList", [])
    handlers[:] = [known for known in handlers if isinstance(known(), MemoryHandler)]
    atexit.register(logging.shutdown)


def _rehearse(dotted: str) -> None:
    """Go through the first steps of a rank, so that this forked process has its page faults before it is needed.

    Its output is dropped, and so is an error: it comes again in the rank, where it is reported.
    """
    with contextlib.suppress(Exception), contextlib.ExitStack() as stack:
        near, far = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        control, _peer = map(stack.enter_context, socket.socketpair())
        rank_spec = RankSpec(0, env=dict(os.environ), sys_path=tuple(sys.path), stdout=os.devnull, stderr=os.devnull)
        payload = stack.enter_context(store(pack(None)))
        Description(rank_spec, Descriptors(control.fileno(), payload.descriptors), {}).send(near)
        context = configure_process(*_understand(socket.recv_fds(far, 1, MOST_DESCRIPTORS)[1]))
        if dotted:
            module, _, function = dotted.partition(":")
            getattr(importlib.import_module(module), function)(context)
        context.channel.close()
    flush()
    gc.freeze()
