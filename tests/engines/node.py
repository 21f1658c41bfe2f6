"""One node of `tests.engines.two_nodes`: a process that runs a `LocalEngine` for somebody at the other end of a pipe.

Frames come on standard input and go to standard output, see `write_frame`. ``(number, method, arguments)`` asks for
something, and ``(number, result, error)`` answers; ``(None, event, None)`` tells what happens. All times that this
process sends and gets are ahead by the seconds that it is started with, as those of another machine would be.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import threading
import time
from typing import IO, Any

from nblaunch.engines.base import Plan, Ranks
from nblaunch.engines.local import LocalEngine
from nblaunch.events import Event, shifted

_LENGTH = struct.Struct("!Q")


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: object) -> Any:
        # payloads and large values are views of memory
        return (memoryview, (bytearray(obj),)) if isinstance(obj, memoryview) else NotImplemented


def write_frame(file: IO[bytes], content: object) -> None:
    """Write a length of eight bytes, and a pickle of so many."""
    data = io.BytesIO()
    _Pickler(data).dump(content)
    file.write(_LENGTH.pack(data.tell()) + data.getvalue())
    file.flush()


def read_frame(file: IO[bytes]) -> Any:
    """Read what `write_frame` has written; EOFError if nothing more comes."""
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return pickle.loads(file.read(*_LENGTH.unpack(head)))


class Node:
    """What can be asked for: what `Ranks` has, and some more."""

    def __init__(self, ahead: float, out: IO[bytes]) -> None:
        self._ahead = ahead
        self._out = out
        self._writing = threading.Lock()
        self._ranks: Ranks

    def send(self, *content: object) -> None:
        """Write a frame; for any thread."""
        with self._writing:
            write_frame(self._out, content)

    def now(self) -> float:
        """Return the time by the clock of this node."""
        return time.monotonic() + self._ahead

    def prepare(self, plan: Plan) -> None:
        """Make the ranks of this node ready."""
        self._ranks = LocalEngine().prepare(plan, self._tell)

    def _tell(self, event: Event) -> None:
        self.send(None, shifted(event, self._ahead), None)

    def order(self, name: str, *args: Any) -> Any:
        """Do what a method of `Ranks` does."""
        if name == "refuse":
            rank, why, sent_at = args
            args = rank, why, sent_at - self._ahead
        return getattr(self._ranks, name)(*args)

    def log(self, attempt: int, name: str, *args: Any) -> Any:
        """Return what a method of `LogReader` does, or an attribute of it."""
        found = getattr(self._ranks.logs(attempt), name)
        return found(*args) if callable(found) else found

    def do(self, number: int, method: str, args: tuple[Any, ...]) -> None:
        """Do what was asked for, and answer."""
        try:
            result, error = getattr(self, method)(*args), None
        except Exception as raised:
            result, error = None, raised
        self.send(number, result, error)


def main() -> None:
    """Serve until the other end is closed."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    node = Node(float(sys.argv[1]), out)
    while True:
        try:
            request = read_frame(sys.stdin.buffer)
        except EOFError:
            return
        # a start takes its time, and an order to end may come meanwhile
        threading.Thread(target=node.do, args=request, daemon=True).start()


if __name__ == "__main__":
    main()
