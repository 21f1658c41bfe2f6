"""What other threads want of a gang's supervisor, which does it in its own thread."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue

from nblaunch.processes.gang.escalation import Step

__all__ = ["Orders"]


class Orders:
    """Queues that any thread may fill; filling one makes `fileno` readable, which wakes the supervisor.

    Attributes
    ----------
    ended : bool
        Whether somebody has ordered that the ranks end.
    """

    def __init__(self) -> None:
        self.ended: bool = False
        self._ends: deque[tuple[str, tuple[Step, ...]]] = deque()
        self._callbacks: deque[Callable[[], None]] = deque()
        # apart from the others, because they are obeyed while ranks start too; a thread waits at each queue
        self._stops: deque[tuple[Callable[[], None], SimpleQueue[None]]] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    # ---- for any thread

    def end(self, reason: str, steps: Iterable[Step]) -> None:
        """Have all ranks ended."""
        self.ended = True
        self._ends.append((reason, tuple(steps)))
        self.wake()

    def call(self, callback: Callable[[], None]) -> None:
        """Have something done in the supervisor's thread that ends no rank."""
        self._callbacks.append(callback)
        self.wake()

    def stop_or_go(self, do: Callable[[], None]) -> SimpleQueue[None]:
        """Have the ranks stopped, or set going; what is returned is filled when that is done."""
        done: SimpleQueue[None] = SimpleQueue()
        self._stops.append((do, done))
        self.wake()
        return done

    def wake(self) -> None:
        """Wake the supervisor, which then looks at its deadlines again."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._writer.send(b"!")

    # ---- for the supervisor's thread

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._reader.fileno()

    def forget_wakes(self) -> None:
        """Read from the descriptor what has made it readable."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def ends(self) -> Iterator[tuple[str, tuple[Step, ...]]]:
        """Take the orders to end the ranks, one by one."""
        while self._ends:
            yield self._ends.popleft()

    @property
    def any_end(self) -> bool:
        """Whether an order to end the ranks waits."""
        return bool(self._ends)

    def run_callbacks(self) -> None:
        """Run the callbacks that `call` was given."""
        with contextlib.suppress(IndexError):  # another thread may take the last one
            while True:
                self._callbacks.popleft()()

    def take_stops(self) -> None:
        """Do what `stop_or_go` was given."""
        with contextlib.suppress(IndexError):  # another thread may take the last one
            while True:
                do, done = self._stops.popleft()
                try:
                    do()
                finally:
                    done.put(None)

    def close(self) -> None:
        """Close the descriptors; nothing wakes the supervisor any more."""
        self._reader.close()
        self._writer.close()
