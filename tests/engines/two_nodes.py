"""`TwoNodes`: an engine that runs the ranks of a plan in two processes of this machine, each with a `LocalEngine`.

::

    plan ─► TwoNodes ─┬─ pipes ─► node 0: LocalEngine ─► ranks 0, 1
                      └─ pipes ─► node 1: LocalEngine ─► ranks 2, 3

Nothing but pickled frames goes between them and this process: plans, orders and answers, events, and bytes of logs.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from nblaunch.engines.base import Placement, Plan, Ranks
from nblaunch.engines.local_ranks import reserve_port
from nblaunch.events import (
    Ended,
    Ending,
    Event,
    Exited,
    LastWord,
    Launched,
    Refused,
    Stack,
    StacksTaken,
    shifted,
)
from nblaunch.logs.files import Note
from nblaunch.logs.reader import STDOUT, LogReader
from tests.engines.node import read_frame, write_frame

# How far the clock of each node is ahead of the one before, in seconds.
AHEAD = 5000.0


class NodeLink:
    """The pipes to one node."""

    def __init__(self, number: int, on_event: Callable[[int, Event], None]) -> None:
        self.number = number
        self._on_event = on_event
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engines.node", str(AHEAD * (number + 1))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._numbers = itertools.count()
        self._answers: dict[int, SimpleQueue[tuple[Any, BaseException | None]]] = {}
        self._writing = threading.Lock()
        self._behind = 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._behind = time.monotonic() - self.call("now")

    def _read(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                number, content, error = read_frame(self._process.stdout)
            except EOFError:
                return
            if number is None:
                self._on_event(self.number, shifted(content, self._behind))
            else:
                self._answers.pop(number).put((content, error))

    def ask(self, method: str, *args: object) -> SimpleQueue[tuple[Any, BaseException | None]]:
        """Have the node do something; return where its answer will come."""
        assert self._process.stdin is not None
        answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        with self._writing:
            number = next(self._numbers)
            self._answers[number] = answer
            write_frame(self._process.stdin, (number, method, args))
        return answer

    def call(self, method: str, *args: object) -> Any:
        """Have the node do something; return what came of it."""
        result, error = self.ask(method, *args).get(timeout=60)
        if error is not None:
            raise error
        return result

    def there(self, at: float) -> float:
        """Return a time by the clock of the node."""
        return at - self._behind

    def close(self) -> None:
        """Let the node go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._reader.join(60)
        self._process.stdout.close()


class PipeLogs:
    """The logs of an attempt, of which this process opens no file: each byte comes through the pipe of its node."""

    def __init__(self, nodes: Mapping[int, NodeLink], attempt: int) -> None:
        self.nprocs = len(nodes)
        self.path = f"/on/two/nodes/attempt_{attempt}"
        self._nodes = nodes
        self._attempt = attempt

    def _ask(self, rank: int, name: str, *args: int) -> Any:
        return self._nodes[rank].call("log", self._attempt, name, rank, *args)

    def place(self, rank: int, stream: int) -> str:
        """Return a path that nobody here can open."""
        return f"{self.path}/{rank}/{'stdout' if stream == STDOUT else 'stderr'}.log"

    def sizes(self, rank: int) -> tuple[int, int]:
        """Ask for the sizes."""
        sizes: tuple[int, int] = self._ask(rank, "sizes")
        return sizes

    def read(self, rank: int, stream: int, start: int, count: int) -> bytes:
        """Ask for bytes."""
        return bytes(self._ask(rank, "read", stream, start, count))

    def is_at_hand(self, rank: int, stream: int, start: int, count: int) -> bool:
        """Return True: a pipe of this machine takes no time."""
        return True

    def held_from(self, rank: int, stream: int, start: int) -> int:
        """Ask where there is something."""
        return int(self._ask(rank, "held_from", stream, start))

    def tail(self, rank: int, stream: int, count: int) -> bytes:
        """Ask for the end."""
        return bytes(self._ask(rank, "tail", stream, count))

    def notes(self, rank: int, start: int) -> tuple[list[Note], int]:
        """Ask for what was noted."""
        notes: tuple[list[Note], int] = self._ask(rank, "notes", start)
        return notes


class TwoNodeRanks:
    """The ranks of a plan on two nodes; see `nblaunch.engines.base.Ranks`."""

    def __init__(self, plan: Plan, on_event: Callable[[Event], None]) -> None:
        self._plan = plan
        self._on_event = on_event
        self._events: SimpleQueue[tuple[int, Event] | None] = SimpleQueue()
        self._links = [NodeLink(number, lambda number, event: self._events.put((number, event))) for number in (0, 1)]
        first = (plan.nprocs + 1) // 2
        self._parts = [(0, first), (first, plan.nprocs - first)]
        self._nodes = {rank: self._links[rank >= first] for rank in plan.ranks}
        self._ordered = self._ended_by_failure = False
        self._over = threading.Event()
        # events are told by a thread that may ask the nodes, and so not by one that reads from them
        self._teller = threading.Thread(target=self._tell, daemon=True)
        self._port = reserve_port()

    def start(self) -> None:
        """Start the ranks of both nodes."""
        if self._ordered:
            self._over.set()
            raise InterruptedError("the run was ended before its ranks were started")
        self._teller.start()
        port = self._port.getsockname()[1]
        for link, (first, count) in zip(self._links, self._parts, strict=True):
            placement = Placement(first, self._plan.nprocs, link.number, 2, "127.0.0.1", port)
            link.call("prepare", replace(self._plan, nprocs=count, placement=placement))
        answers = [link.ask("order", "start") for link in self._links]
        errors = [error for _, error in (answer.get(timeout=60) for answer in answers) if error is not None]
        if errors:
            self._all("kill")
            self.join(60)
            raise errors[0]

    def _tell(self) -> None:
        early: list[Event] = []
        launched: dict[int, Launched] = {}
        ended: dict[int, Ended] = {}
        while (told := self._events.get()) is not None:
            node, event = told
            if isinstance(event, Launched):
                launched[node] = event
                if len(launched) == 2:
                    hosts = tuple(f"node{link.number}" for link in self._nodes.values())
                    self._on_event(Launched(self._plan.nprocs, event.at, event.attempt, hosts))
                    for waiting in early:
                        self._on_event(waiting)
            elif isinstance(event, Ended):
                ended[node] = event
                if len(ended) == 2:
                    defect, refused = (
                        next(filter(None, (getattr(one, name) for one in ended.values())), None)
                        for name in ("defect", "refused")
                    )
                    self._port.close()
                    self._on_event(Ended(event.at, defect, refused or "", self._ordered))
                    self._over.set()
                    return
            elif len(launched) < 2:
                early.append(event)
            elif not (isinstance(event, Ending) and self._ended_by_failure and event.reason == "the run was stopped"):
                self._on_event(event)
                self._end_others(node, event)

    def _end_others(self, node: int, event: Event) -> None:
        failed = isinstance(event, Refused) or (
            isinstance(event, Exited) and event.reported != LastWord.VALUE and not event.collateral
        )
        if failed and self._plan.stop_on_failure and not self._ended_by_failure:
            self._ended_by_failure = True
            other = self._links[1 - node]
            stacks: dict[int, Stack] = other.call("order", "stacks", None, False)
            self._on_event(StacksTaken(stacks, "failure", time.monotonic()))
            other.ask("order", "stop")

    def _all(self, name: str, *args: object) -> None:
        if not self._over.is_set():
            for link in self._links:
                link.ask("order", name, *args)

    def interrupt(self) -> None:
        """Have both nodes interrupt their ranks."""
        self._ordered = True
        self._all("interrupt")

    def stop(self) -> None:
        """Have both nodes stop their ranks."""
        self._ordered = True
        self._all("stop")

    def kill(self) -> None:
        """Have both nodes kill their ranks."""
        self._ordered = True
        self._all("kill")

    def signal(self, number: int, ranks: Iterable[int] | None) -> None:
        """Send a signal to ranks of both nodes."""
        self._all("signal", number, None if ranks is None else tuple(ranks))

    def hold(self) -> None:
        """Stop the ranks."""
        self._all("hold")

    def resume(self) -> None:
        """Set the ranks going."""
        self._all("resume")

    def stacks(self, ranks: Iterable[int] | None, native: bool) -> dict[int, Stack]:
        """Return where ranks are."""
        chosen = None if ranks is None else tuple(ranks)
        found: dict[int, Stack] = {}
        for link in self._links:
            found |= link.call("order", "stacks", chosen, native)
        return found

    def refuse(self, rank: int, why: str, sent_at: float) -> None:
        """Count a rank as failed."""
        link = self._nodes[rank]
        link.ask("order", "refuse", rank, why, link.there(sent_at))

    def answer(self, rank: int, number: int, body: bytes) -> None:
        """Answer a rank."""
        self._nodes[rank].ask("order", "answer", rank, number, body)

    def logs(self, attempt: int) -> LogReader:
        """Return who reads the logs through the pipes."""
        return PipeLogs(self._nodes, attempt)

    def sample(self, period: float) -> None:
        """Tell what the ranks use."""
        self._all("sample", period)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no rank is left."""
        if not self._teller.is_alive() and not self._over.is_set():
            return True
        return self._over.wait(timeout)

    def close(self) -> None:
        """Let the nodes go; their logs cannot be read any more."""
        self._events.put(None)
        self._port.close()
        for link in self._links:
            link.close()
        if self._teller.ident is not None:
            self._teller.join(60)


class TwoNodes:
    """See `nblaunch.engines.base.Engine`. The nodes live until the end of the ``with`` block."""

    def __init__(self) -> None:
        self._made: list[TwoNodeRanks] = []

    def prepare(self, plan: Plan, on_event: Callable[[Event], None]) -> Ranks:
        """Make both nodes."""
        if plan.nprocs < 2:
            raise ValueError("two nodes need at least two ranks")
        self._made.append(TwoNodeRanks(plan, on_event))
        return self._made[-1]

    def get_ready(
        self, prepare: str, rehearse: str, among: AbstractSet[str] | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Do nothing: each launch makes its nodes."""

    def __enter__(self) -> TwoNodes:  # noqa: PYI034
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._made:
            self._made.pop().close()
