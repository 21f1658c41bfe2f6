"""A spare: a rank that was forked ahead, has rehearsed, and waits until it is told who it is.

What it is told comes in one packet, the same that a forkserver gets for a rank that is to be forked at once: a file
with its `Birth`, and its descriptors.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import socket
import sys
import traceback
from dataclasses import fields
from typing import Any, NoReturn

from nblaunch.processes import _linux, threads
from nblaunch.processes.child import Birth, Descriptors, become_rank, flush, leave_parent, warm_up

__all__ = ["GIVEN", "MOST_DESCRIPTORS", "begin", "describe", "wait"]

# The environment that this process was started with: libraries may change their own when they are imported.
GIVEN = dict(os.environ)
# In the packet that tells a rank who it is: the file, and the rank's own.
MOST_DESCRIPTORS = 1 + len(fields(Descriptors))


def describe(birth: Birth, descriptors: Descriptors, environment: dict[str, str], mailbox: socket.socket) -> None:
    """Send what `begin` and `wait` read, to a forkserver or to a spare.

    Parameters
    ----------
    birth, descriptors
        What the process is to become.
    environment : dict of str to str
        The environment that it has so far.
    mailbox : socket
        Packet socket; the packet is ``b"!"``.

    Raises
    ------
    OSError
        If nobody listens, or there are no descriptors left.
    """
    given = {name: descriptor for name, descriptor in vars(descriptors).items() if descriptor >= 0}
    told = {
        "birth": birth.as_json(),
        "changed": {name: value for name, value in birth.env.items() if environment.get(name) != value},
        "removed": [name for name in environment if name not in birth.env],
        "descriptors": list(given),
    }
    # in a file of its own, because an environment can be larger than a packet may be
    with open(_linux.memory_file("nblaunch-birth"), "wb", buffering=0) as file:
        file.write(json.dumps(told).encode())
        file.seek(0)
        socket.send_fds(mailbox, [b"!"], [file.fileno(), *given.values()])


def _become_described(received: list[int], parent: int) -> NoReturn:
    """Become the rank that `describe` tells of, in a process that has left its parent.

    Parameters
    ----------
    received : list of int
        The descriptors of the packet.
    parent : int
        Process id of the forkserver.
    """
    with open(received[0], "rb") as file:
        told: dict[str, Any] = json.load(file)
    added = {name: value for name, value in os.environ.items() if name not in GIVEN}
    kept = {name: value for name, value in GIVEN.items() if name not in told["removed"]}
    birth = Birth(env=added | kept | told["changed"], **told["birth"])
    descriptors = Descriptors(**dict(zip(told["descriptors"], received[1:], strict=True)))
    threads.tell_loaded(birth.env)
    if "numpy.random" in sys.modules:
        # a fork of its generator gives every rank the same numbers; that of `random` looks after itself
        sys.modules["numpy.random"].seed()
    become_rank(birth, descriptors, parent)


def begin(received: list[int], parent: int) -> NoReturn:
    """Become the rank that `describe` tells of, in a process that has just been forked."""
    try:
        _leave_forkserver()
        _become_described(received, parent)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def wait(mailbox: socket.socket, rehearse: str) -> NoReturn:
    """Rehearse, then wait at the mailbox; become a rank, or leave when it is closed.

    Parameters
    ----------
    mailbox : socket
        Packet socket; the only other end is with the gang.
    rehearse : str
        ``"module:function"`` to call first. It touches what the work of a rank touches, so that the page faults of
        a forked process are behind this one when it is wanted.
    """
    try:
        parent = os.getppid()
        _leave_forkserver()
        own_name = _linux.rename("nblaunch-spare")
        _rehearse(rehearse)
        mark, received, _, _ = socket.recv_fds(mailbox, 1, MOST_DESCRIPTORS)
        mailbox.close()
        if mark:
            _linux.rename(own_name)
            _become_described(received, parent)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _leave_forkserver() -> None:
    leave_parent()
    # it was imported there, and what a rank logs must not stay in a buffer
    atexit.register(logging.shutdown)


def _rehearse(dotted: str) -> None:
    # what a rehearsal prints is nobody's; its error will come again where it is reported
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
    warm_up(dotted)
    flush()
    for descriptor, original in zip((1, 2), kept, strict=True):
        os.dup2(original, descriptor)
        os.close(original)
    os.close(nothing)
    gc.freeze()
