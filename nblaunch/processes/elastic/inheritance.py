"""Descriptors that arguments hold: of pipes, sockets, shared tensors and the shared memory of `multiprocessing`.

::

    pickling in the parent:  Connection ─► DupFd ─► index, and a copy of the descriptor
    Bags:                    the copies, as messages that wait in sockets; every rank looks at them, none takes them out
    unpickling in a rank:    index ─► the rank's own copy

`multiprocessing` knows such objects by a "spawning popen", which is set while the arguments of a child are pickled.
`Inheritance` takes its place.
"""

from __future__ import annotations

import array
import contextlib
import errno
import functools
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import context as _context
from multiprocessing.reduction import ForkingPickler
from types import BuiltinMethodType, MethodDescriptorType, MethodType, WrapperDescriptorType
from typing import Any

from nblaunch.processes.child.rank_spec import MOST_BAGS

__all__ = ["Inheritance", "inherited_reducers", "inheriting"]

# Descriptors in one message; the kernel takes 253 (SCM_MAX_FD).
_IN_A_BAG = 250
# What pickles by itself, or is pickled in nblaunch's own way.
_ORDINARY = (MethodType, BuiltinMethodType, MethodDescriptorType, WrapperDescriptorType, functools.partial)


def inherited_reducers() -> Mapping[type, Callable[[Any], Any]]:
    """Return by class how `multiprocessing`, and torch in it, send objects to a child: what is shared stays shared."""
    registered: dict[type, Callable[[Any], Any]] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
    return {kind: reduce for kind, reduce in registered.items() if kind not in _ORDINARY}


class Inheritance:
    """Takes the descriptors of what is pickled for ranks."""

    def __init__(self) -> None:
        self._copies: list[int] = []

    @contextlib.contextmanager
    def pickling(self) -> Iterator[None]:
        """Take descriptors of what this thread pickles meanwhile."""
        before = _context.get_spawning_popen()
        _context.set_spawning_popen(self)  # type: ignore[arg-type]
        try:
            yield
        finally:
            _context.set_spawning_popen(before)

    def duplicate_for_child(self, descriptor: int) -> int:
        """Take a descriptor, and return the number by which ranks find it; `multiprocessing` calls this."""
        self._copies.append(os.dup(descriptor))
        return len(self._copies) - 1

    def DupFd(self, number: int) -> _Inherited:  # noqa: N802  (the name is multiprocessing's)
        """Return what pickles to the descriptor of that number."""
        return _Inherited(number)

    def bags(self) -> list[socket.socket]:
        """Return sockets in which the descriptors wait, and let go of them; empty if there are none.

        Raises
        ------
        OSError
            If the system gives no more descriptors, or there are more than fit into `MOST_BAGS`.
        """
        if len(self._copies) > MOST_BAGS * _IN_A_BAG:
            self.close()
            raise OSError(errno.EMFILE, f"the arguments hold more than {MOST_BAGS * _IN_A_BAG} descriptors")
        bags: list[socket.socket] = []
        try:
            for start in range(0, len(self._copies), _IN_A_BAG):
                outside, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                bags.append(inside)
                with outside:
                    socket.send_fds(outside, [b"!"], self._copies[start : start + _IN_A_BAG])
        except BaseException:
            for bag in bags:
                bag.close()
            raise
        finally:
            self.close()
        return bags

    def close(self) -> None:
        """Let go of the descriptors."""
        while self._copies:
            os.close(self._copies.pop())


class _Inherited:
    """Stands for a descriptor in a pickle; see `multiprocessing.reduction.DupFd`."""

    def __init__(self, number: int) -> None:
        self._number = number

    def detach(self) -> int:
        """Return a descriptor of one's own."""
        return os.dup(_descriptors[self._number])


_descriptors: list[int] = []


@contextlib.contextmanager
def inheriting(bags: Sequence[int]) -> Iterator[None]:
    """Have what is unpickled meanwhile find its descriptors in these bags, which are closed then.

    Raises
    ------
    OSError
        If this process may not have as many descriptors.
    """
    try:
        for bag in bags:
            with socket.socket(fileno=bag) as opened:
                # looked at, not taken out: the bag is the same for all ranks
                _descriptors.extend(_peek(opened))
        yield
    finally:
        while _descriptors:
            os.close(_descriptors.pop())


def _peek(bag: socket.socket) -> Iterator[int]:
    size = array.array("i").itemsize
    how = socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC
    _, ancillary, flags, _ = bag.recvmsg(1, socket.CMSG_SPACE(_IN_A_BAG * size), how)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found = array.array("i")
            found.frombytes(data[: len(data) - len(data) % size])
            yield from found
    if flags & socket.MSG_CTRUNC:
        raise OSError(
            "this rank may not open as many descriptors (ulimit -n) as its arguments hold, such as shared tensors"
        )
