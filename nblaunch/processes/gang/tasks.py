"""The tasks after the first one, of ranks that stay: `GangTask` describes one, `TaskQueue` gives them to the ranks."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nblaunch.events import Event, TaskEnded
from nblaunch.payload import Packed, store
from nblaunch.processes.gang.connections import Connections
from nblaunch.processes.gang.policy import Policy
from nblaunch.processes.gang.watched_rank import WatchedRank
from nblaunch.processes.threads import cores

__all__ = ["GangTask", "TaskQueue"]


@dataclass
class GangTask:
    """One task, for all ranks or for some.

    Parameters
    ----------
    payload : sequence of Packed
        Written once and mapped by every rank that does the task.
    stdouts, stderrs : mapping of int to str
        Files for descriptors 1 and 2 by rank; a rank without an entry writes where it wrote before.
    policy : Policy
        What ends the ranks before they are done.
    ranks : frozenset of int, optional
        The ranks that do it; by default all.
    """

    payload: Sequence[Packed]
    stdouts: Mapping[int, str] = field(default_factory=dict)
    stderrs: Mapping[int, str] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    ranks: frozenset[int] | None = None

    def described_to(self, rank: int) -> bytes:
        """Return the description that a rank gets, see `nblaunch.processes.child.context.Context.tasks`."""
        return json.dumps({"stdout": self.stdouts.get(rank, ""), "stderr": self.stderrs.get(rank, "")}).encode()


class TaskQueue:
    """The tasks of a gang whose ranks stay. In the supervisor's thread only.

    Parameters
    ----------
    running : callable
        Returns the ranks whose processes have not exited.
    begin : callable
        Called with the policy of each task, before its ranks get the task.
    connections : Connections
        The way to the ranks.
    tell : callable
        Gets the events.

    Attributes
    ----------
    finished : bool
        Whether no task will follow those that wait.
    rests : bool
        Whether all ranks wait for the next task.
    """

    def __init__(
        self,
        running: Callable[[], list[WatchedRank]],
        begin: Callable[[Policy], None],
        connections: Connections,
        tell: Callable[[Event], None],
    ) -> None:
        self._running = running
        self._begin = begin
        self._connections = connections
        self._tell = tell
        self._waiting: deque[GangTask] = deque()
        self._number = 0
        self.rests: bool = False
        self.finished: bool = False

    def submit(self, task: GangTask) -> None:
        """Add a task, which begins at the next `go_on` when no rank is busy."""
        self._waiting.append(task)

    def finish(self) -> None:
        """Let the ranks leave when they have done the tasks that wait."""
        self.finished = True

    def go_on(self) -> None:
        """Tell that a task is over, and begin the next one, unless a rank is still busy."""
        running = self._running()
        while running and not any(rank.busy for rank in running):
            if not self.rests:
                self._end_task("")
            if not self._waiting:
                break
            self._number += 1
            self.rests = False
            try:
                self._give(self._waiting.popleft(), running)
            except (OSError, MemoryError) as error:
                self._end_task(str(error) or type(error).__name__)
        if self.finished and self.rests:
            for rank in running:
                if rank.inbox is not None:
                    rank.inbox.end_of_tasks()

    def _end_task(self, refused: str) -> None:
        self.rests = True
        self._tell(TaskEnded(self._number, time.monotonic(), refused))

    def _give(self, task: GangTask, running: Sequence[WatchedRank]) -> None:
        self._begin(task.policy)
        with store(*task.payload, most_files=cores()) as stored:
            for rank in running:
                if rank.inbox is None or not (task.ranks is None or rank.number in task.ranks):
                    continue
                rank.begin_task()
                self._connections.give(rank, task.described_to(rank.number), stored.descriptors)
