"""`Context`: what the entry point of a rank gets; `Task`: what the rank is given to do."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nblaunch.payload import Parts, Stored
from nblaunch.processes.child.channel import Channel
from nblaunch.processes.child.log_files import lead_to_files
from nblaunch.processes.child.rank_spec import RankSpec

__all__ = ["Context", "Task"]


@dataclass
class Task:
    """What a rank is given to do.

    Attributes
    ----------
    number : int
        0 for the first one that this rank gets.
    payload : list of Parts
        For `nblaunch.payload.unpack`; private and writable.
    stdout, stderr : str
        The files that descriptors 1 and 2 lead to meanwhile; empty where nobody has named one.
    """

    number: int
    payload: list[Parts]
    stdout: str
    stderr: str


@dataclass
class Context:
    """What the entry point of a rank gets.

    Attributes
    ----------
    rank_spec : RankSpec
        How the rank was started.
    channel : Channel
        The way back to the gang.
    payload : list of Parts
        The payload of the first task.
    inherited : object
        With start method ``fork``: an object of the parent's memory, else None.
    guard : int
        A descriptor that becomes readable when the parent ends; -1 for none.
    bags : tuple of int
        See `nblaunch.processes.child.rank_spec.Descriptors`; whoever unpacks the payload closes them.
    pid : int
        Id of the rank's process, by which processes that it forks see that they are not the rank.
    """

    rank_spec: RankSpec
    channel: Channel
    payload: list[Parts]
    inherited: Any = None
    guard: int = -1
    bags: tuple[int, ...] = ()
    pid: int = field(default_factory=os.getpid)

    def let_interrupts_in(self) -> None:
        """Unblock SIGINT; one that came before is delivered now. The entry point calls it where it can report that."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def tasks(self) -> Iterator[Task]:
        """Yield the first task, and those that follow if the rank stays, until the gang has no more.

        A rank tells that it has done a task with a message of kind ``"value"`` or ``"error"``. While it waits for the
        next one it is not interrupted.
        """
        yield Task(0, self.payload, self.rank_spec.stdout, self.rank_spec.stderr)
        number = 0
        while self.rank_spec.stays:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            given = self.channel.next_task()
            if given is None:
                return
            # an interrupt was meant for the task before
            signal.sigtimedwait({signal.SIGINT}, 0)
            number += 1
            yield _understand(number, *given)


def _understand(number: int, body: bytes, descriptors: list[int]) -> Task:
    told: dict[str, str] = json.loads(body)
    lead_to_files(told["stdout"], told["stderr"])
    with Stored(*descriptors) as stored:
        return Task(number, stored.parts(), told["stdout"], told["stderr"])
