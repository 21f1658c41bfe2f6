"""`RunState`: what a person is shown of a run and of each of its ranks, put together from the events.

The widget, the record and the plain panel all read it, so that they cannot disagree.
"""

from __future__ import annotations

import copy
import signal
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from nblaunch.events import (
    Abandoned,
    AllExited,
    Answered,
    Asked,
    Captured,
    Displayed,
    Ended,
    Ending,
    Event,
    Exited,
    Finished,
    GettingReady,
    Imported,
    LastWord,
    Launched,
    QuestionWithdrawn,
    Raised,
    Refused,
    Restarting,
    Sampled,
    SessionEnded,
    Signalled,
    StacksTaken,
    Stalled,
    Started,
    Straggling,
    TaskEnded,
    TimedOut,
)
from nblaunch.panel.asking import Asking
from nblaunch.stacks.folding import where
from nblaunch.wording import name_ranks

__all__ = ["STATES", "Outcome", "RankState", "RunState", "stalls_for", "straggles"]

STATES = ("starting", "running", "finished", "failed", "stopped", "restarting")
"""What a rank can be; ``"stopped"`` is one that was ended before it had failed by itself."""

# Samples of memory that are kept for the small curve.
_HISTORY = 60
_NOT_BEGUN = ("starting", "restarting")


@dataclass
class RankState:
    """What is shown of one rank.

    Attributes
    ----------
    state : str
        One of `STATES`.
    began, ended : float or None
        Seconds since the launch.
    cpu : float
        Percent of one core.
    memory : int
        Bytes.
    exit : str
        How its process ended, if not with code 0: ``"exit code 3"``, ``"SIGKILL"``.
    why, traceback : str
        Of its failure: one line, and the traceback with its colours.
    failed_at : float
        When it failed, or raised what it failed of.
    root : bool
        Whether it failed first.
    held : Raised or None
        What it has raised and waits with for a debugger.
    where : str
        Where it was when the first rank failed, or when the time was over.
    stalls : bool
        Whether it neither computes nor writes.
    remark : str
        What a person may want to know of a rank that goes on.
    asking : Asking
        What it waits for somebody to answer.
    """

    rank: int
    state: str = "starting"
    pid: int | None = None
    began: float | None = None
    ended: float | None = None
    cpu: float = 0.0
    memory: int = 0
    history: deque[int] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    exit: str = ""
    why: str = ""
    traceback: str = ""
    failed_at: float = 0.0
    root: bool = False
    held: Raised | None = None
    where: str = ""
    stalls: bool = False
    remark: str = ""
    asking: Asking = field(default_factory=Asking)


@dataclass(frozen=True)
class Outcome:
    """What became of a run, in the words of whoever launched it.

    Parameters
    ----------
    status : str
        ``"finished"``, ``"failed"``, ``"timed out"``, ``"interrupted"``, ``"stopped"`` or ``"not started"``.
    summary : str
        One line.
    bound : str
        Says which variables of the notebook hold what came back; empty where it has been said before.
    logs : str
        Folder of the log files, if they can still be read later; else empty.
    told : bool
        Whether an exception tells about the failures, right below.
    crashes : mapping of int to str
        Where ranks were that ended without an exception, if they left word of it.
    number : int
        Of the cell that has run: its lines need not be told apart from those of other cells.
    """

    status: str
    summary: str
    bound: str = ""
    logs: str = ""
    told: bool = False
    crashes: Mapping[int, str] = field(default_factory=dict)
    number: int = 0


class RunState:
    """What is shown of a run.

    Feed it every event with `note`, in order.

    Parameters
    ----------
    title : str
        What runs, as in ``"%%multiproc 4"``.

    Attributes
    ----------
    ranks : list of RankState
        One for each rank, empty before the launch.
    attempt : int
        Which attempt they belong to: 0 is the first one.
    getting_ready : bool
        Whether the ranks wait for a process that will fork them and still imports modules.
    importing : str
        What it imports now, in words, or an empty string.
    ending : str
        Why the ranks are being ended, or an empty string.
    restarts : str
        Which restart this is, in words, or an empty string.
    restarted : str
        The same, and what the attempt before has failed of.
    over : bool
        Whether the run has ended.
    samples : int
        How often it was looked at what ranks use.
    detached : bool
        Whether what ranks ask is put only when somebody calls for that.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.samples = 0
        self.detached = False
        self.sizes: dict[str, int] = {}
        self.ranks: list[RankState] = []
        self.attempt = 0
        self.getting_ready = False
        self.importing = ""
        self.ending = ""
        self.restarts = self.restarted = ""
        self.over = False
        self.launched_at = 0.0
        self.ended_at: float | None = None
        self._ending_at = 0.0
        self._timed_out: TimedOut | None = None
        # the attempt before, which counts if the ranks cannot be started once more
        self._before: tuple[int, list[RankState]] = (0, [])

    @property
    def state(self) -> str:
        """What the run is: ``"getting ready"``, ``"starting"``, ``"running"``, ``"stopping"`` or ``"over"``."""
        if self.over:
            return "over"
        if self.ending:
            return "stopping"
        if self.getting_ready:
            return "getting ready"
        return "starting" if any(rank.state == "starting" for rank in self.ranks) or not self.ranks else "running"

    @property
    def counts(self) -> dict[str, int]:
        """How many ranks are in which state."""
        return dict(Counter(rank.state for rank in self.ranks))

    @property
    def root(self) -> RankState | None:
        """The rank that failed first, if one has failed."""
        return next((rank for rank in self.ranks if rank.root), None)

    @property
    def cpu(self) -> float:
        """Percent of one core that all ranks use together."""
        return sum(rank.cpu for rank in self.ranks)

    @property
    def memory(self) -> int:
        """Bytes that all ranks use together; those that have not been looked at yet count as those that have."""
        running = [rank for rank in self.ranks if rank.state == "running"]
        known = [rank.memory for rank in running if rank.memory]
        return sum(known) * len(running) // len(known) if known else 0

    @property
    def memory_known(self) -> bool:
        """Whether all that run have been looked at: that takes its time, and many are looked at in turns."""
        return all(rank.memory for rank in self.ranks if rank.state == "running")

    def answer_to(self, rank: RankState) -> str:
        """Say which command answers a rank; empty if it does not ask, or has a box of its own."""
        return f"%multiproc debug {rank.rank}" if self.detached and rank.asking.wanted else ""

    def clock(self, at: float) -> float:
        """Return a time of `time.monotonic` in seconds since the launch."""
        return max(0.0, at - self.launched_at)

    def note(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Captured):
            self.sizes = event.sizes
        elif isinstance(event, Launched):
            self._begin(event)
        elif isinstance(event, GettingReady):
            self.getting_ready = True
            self.importing = f"importing {event.importing}" if event.importing else ""
        elif isinstance(event, Ending):
            if not self.ending:
                self.ending, self._ending_at = event.reason, event.at
            # nobody is asked any more
            for rank in self.ranks:
                rank.asking.forget()
        elif isinstance(event, TimedOut):
            self._time_out(event)
        elif isinstance(event, Sampled):
            self._sample(event)
        elif isinstance(event, Restarting):
            self._restart(event)
        elif isinstance(event, Ended):
            self.over = True
            self.ended_at = event.at
            if event.refused and self._before[1] and all(rank.state in _NOT_BEGUN for rank in self.ranks):
                self.attempt, self.ranks = self._before
        elif isinstance(event, StacksTaken):
            for number, stack in event.stacks.items():
                if event.reason == "stall":
                    rank = self.ranks[number]
                    # it may have gone on meanwhile
                    if rank.stalls:
                        rank.remark = f"{rank.remark.partition(': ')[0]}: {where(stack)}"
                else:
                    self.ranks[number].where = where(stack)
        elif isinstance(event, Stalled):
            self._stall(event)
        elif isinstance(event, Straggling):
            for number in event.ranks:
                self.ranks[number].remark = straggles(event.seconds)
        elif isinstance(event, (Displayed, AllExited, Imported, Signalled, TaskEnded)):
            return  # shown elsewhere, or nothing to be shown
        elif event.rank < len(self.ranks):
            self._note_of_rank(self.ranks[event.rank], event)

    def _begin(self, launched: Launched) -> None:
        if not self.ranks:
            self.launched_at = launched.at
        self.attempt = launched.attempt
        self.getting_ready = False
        self.ranks = [RankState(rank) for rank in range(launched.nprocs)]

    def _restart(self, event: Restarting) -> None:
        self.restarts = f"restart {event.attempt} of {event.most}"
        again = "all ranks start again" if len(self.ranks) > 1 else "it starts again"
        self.restarted = f"{self._what_failed()}; {again}: {self.restarts}"
        self.ending = ""
        self._before = self.attempt, [copy.copy(rank) for rank in self.ranks]
        for rank in self.ranks:
            rank.state = "restarting"
            rank.asking.forget()

    def _what_failed(self) -> str:
        root = self.root
        if root is None:
            return "the ranks failed"
        others = [rank.rank for rank in self.ranks if rank.state == "failed" and not rank.root]
        too = f", and {name_ranks(others)} too" if others else ""
        return f"rank {root.rank} failed{' first' if others else ''} ({root.why}){too}"

    def _time_out(self, event: TimedOut) -> None:
        self._timed_out = event
        for number in event.ranks:
            self._fail(self.ranks[number], event.at, f"still running after the timeout of {event.seconds:g} s")

    def _stall(self, event: Stalled) -> None:
        for rank in self.ranks:
            stalls = rank.rank in event.ranks
            if stalls or rank.stalls:
                rank.remark = stalls_for(event.seconds) if stalls else ""
            rank.stalls = stalls

    def _sample(self, event: Sampled) -> None:
        self.samples += 1
        for number, usage in event.usage.items():
            rank = self.ranks[number]
            if rank.state == "running":
                rank.cpu, rank.memory = usage.cpu, usage.memory
                if usage.memory:
                    rank.history.append(usage.memory)

    def _note_of_rank(
        self,
        rank: RankState,
        event: Started
        | Finished
        | Raised
        | Refused
        | Exited
        | Abandoned
        | Asked
        | Answered
        | QuestionWithdrawn
        | SessionEnded,
    ) -> None:
        if isinstance(event, (Asked, Answered, QuestionWithdrawn, SessionEnded)):
            if rank.state == "running" and not self.ending:
                rank.asking.note(event)
        elif isinstance(event, Started):
            self.getting_ready = False
            rank.state, rank.pid, rank.began = "running", event.pid, self.clock(event.at)
        elif isinstance(event, Finished):
            self._finish(rank, event.at)
        elif isinstance(event, Raised) and event.held:
            rank.held = event
        elif isinstance(event, Raised):
            self._raise(rank, event, event.at)
        elif isinstance(event, Refused):
            self._fail(rank, event.at, event.why, event.sent_at)
        elif isinstance(event, Abandoned):
            rank.why = "hangs in the kernel and did not go even when killed"
        else:
            self._exit(rank, event)

    def _exit(self, rank: RankState, event: Exited) -> None:
        rank.exit = _how(event.exitcode)
        if event.reported == LastWord.VALUE or rank.state == "failed":
            return
        if rank.held is not None and event.reported is None:
            self._raise(rank, rank.held, event.at)
            if rank.state == "failed":
                return
        if event.collateral:
            rank.why = rank.why or rank.where
            self._leave(rank, "stopped", event.at)
        else:
            how = rank.exit or "ended without a value: the process left with code 0"
            self._fail(rank, event.at, rank.why or (f"{how}: {event.reason}" if event.reason else how))

    def _raise(self, rank: RankState, raised: Raised, at: float) -> None:
        rank.why, rank.traceback = raised.summary, raised.traceback
        # a rank that was held for a debugger had failed by itself, whatever has ended it
        if not self.ending or raised.raised_at < self._ending_at:
            self._fail(rank, at, raised.summary, raised.raised_at)

    def _fail(self, rank: RankState, at: float, why: str, failed_at: float | None = None) -> None:
        if rank.state != "failed":
            rank.failed_at = at if failed_at is None else failed_at
            self._leave(rank, "failed", at)
            self._find_root()
        rank.why = rank.why or why

    def _find_root(self) -> None:
        """Mark the rank that failed first; what it told may have come later than what another one told."""
        failed = [rank for rank in self.ranks if rank.state == "failed"]
        first = min(failed, key=lambda rank: rank.failed_at, default=None)
        for rank in self.ranks:
            rank.root = rank is first

    def _finish(self, rank: RankState, at: float) -> None:
        self._leave(rank, "finished", at)
        rank.why = ""
        # the time may have been over, and yet it has come to its end while it was being ended
        self._find_root()

    def _leave(self, rank: RankState, state: str, at: float) -> None:
        rank.state, rank.ended, rank.cpu, rank.remark = state, self.clock(at), 0.0, ""
        rank.asking.forget()


def stalls_for(seconds: float) -> str:
    """Say that a rank does nothing."""
    return f"has neither computed nor written for {seconds:.0f} s"


def straggles(seconds: float) -> str:
    """Say that a rank is late."""
    return f"still at work {seconds:.0f} s after others have finished"


def _how(exitcode: int) -> str:
    if exitcode >= 0:
        return f"exit code {exitcode}" if exitcode else ""
    try:
        return signal.Signals(-exitcode).name
    except ValueError:
        return f"signal {-exitcode}"
