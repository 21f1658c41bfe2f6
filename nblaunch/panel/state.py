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
    AllExited,
    Answered,
    Asked,
    Captured,
    Displayed,
    Ended,
    Ending,
    Event,
    GettingReady,
    Imported,
    Launched,
    QuestionWithdrawn,
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
from nblaunch.runs.outcome import RankOutcome, RunOutcome
from nblaunch.stacks.folding import where
from nblaunch.wording import name_ranks

__all__ = ["STATES", "RankState", "RunState", "RunSummary", "stalls_for", "straggles"]

STATES = ("starting", "running", "finished", "failed", "stopped", "restarting")
"""The states of a rank; one that was ended before it had failed by itself is ``"stopped"``."""

# Samples of a rank's memory that are kept for the small curve.
_HISTORY = 60
_HANGS = "hangs in the kernel and did not go even when killed"


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
    why : str
        Why it has failed, in one line.
    traceback : str
        The traceback of its failure, with colours.
    root : bool
        Whether it failed first.
    where : str
        Where it was when the first rank failed, or when the time was over.
    stalls : bool
        Whether it neither computes nor writes.
    remark : str
        What a person may want to know while it runs, such as that it stalls.
    asking : Asking
        The questions that it waits for a person to answer.
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
    root: bool = False
    where: str = ""
    stalls: bool = False
    remark: str = ""
    asking: Asking = field(default_factory=Asking)


@dataclass(frozen=True)
class RunSummary:
    """What the record says of a run as a whole.

    Parameters
    ----------
    status : str
        ``"finished"``, ``"failed"``, ``"timed out"``, ``"interrupted"``, ``"stopped"`` or ``"not started"``.
    line : str
        How the run has ended, in one line.
    bound : str
        Says which variables of the notebook hold what came back; empty where it has been said before.
    logs : str
        Folder of the log files, if they can still be read later; else empty.
    told : bool
        Whether an exception right below the record tells about the failures.
    crashes : mapping of int to str
        Python stacks of ranks that crashed, by rank, as far as they are known.
    number : int
        Number of the cell that has run: where only its lines are meant, the cell is not named.
    """

    status: str
    line: str
    bound: str = ""
    logs: str = ""
    told: bool = False
    crashes: Mapping[int, str] = field(default_factory=dict)
    number: int = 0


class RunState:
    """What is shown of a run; `note` has to get every event, in order.

    Parameters
    ----------
    title : str
        What runs, as in ``"%%multiproc 4"``.

    Attributes
    ----------
    ranks : list of RankState
        One for each rank, empty before the launch.
    attempt : int
        Number of the attempt that these ranks belong to; 0 is the first one.
    getting_ready : bool
        Whether the ranks wait for a process that will fork them and still imports modules.
    importing : str
        What this process imports now, in words, or an empty string.
    ending : str
        Why the ranks are being ended, or an empty string.
    restarts : str
        Which restart this is, in words, or an empty string.
    restarted : str
        What the attempt before has failed of, and which restart this is, in words.
    over : bool
        Whether the run has ended.
    samples : int
        How often the processor time and memory of the ranks were measured.
    detached : bool
        Whether nobody waits for the run: a rank that asks is then answered only through ``%multiproc debug``.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.samples: int = 0
        self.detached = False
        self.sizes: dict[str, int] = {}
        self.ranks: list[RankState] = []
        self.attempt: int = 0
        self.getting_ready: bool = False
        self.importing: str = ""
        self.ending: str = ""
        self.restarts: str = ""
        self.restarted: str = ""
        self.over: bool = False
        self.launched_at: float = 0.0
        self.ended_at: float | None = None
        self._outcome = RunOutcome()
        self._root: RankOutcome | None = None
        # what was shown of the attempt before, which counts if the ranks cannot be started once more
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
        """Bytes that all ranks use together; ranks that were not measured yet count as the mean of the others."""
        running = [rank for rank in self.ranks if rank.state == "running"]
        known = [rank.memory for rank in running if rank.memory]
        return sum(known) * len(running) // len(known) if known else 0

    @property
    def memory_known(self) -> bool:
        """Whether all ranks that run were measured; many are measured in turns, because that takes its time."""
        return all(rank.memory for rank in self.ranks if rank.state == "running")

    def answer_to(self, rank: RankState) -> str:
        """Say which command answers a rank; empty if it does not ask, or has a box of its own."""
        return f"%multiproc debug {rank.rank}" if self.detached and rank.asking.wanted else ""

    def clock(self, at: float) -> float:
        """Turn a time of `time.monotonic` into seconds since the launch."""
        return max(0.0, at - self.launched_at)

    def note(self, event: Event) -> None:
        """Take an event."""
        self._outcome.note(event)
        if isinstance(event, Captured):
            self.sizes = event.sizes
        elif isinstance(event, Launched):
            self._begin(event)
        elif isinstance(event, GettingReady):
            self.getting_ready = True
            self.importing = f"importing {event.importing}" if event.importing else ""
        elif isinstance(event, Ending):
            self.ending = self.ending or event.reason
            # no person is asked any more
            for rank in self.ranks:
                rank.asking.forget()
        elif isinstance(event, Sampled):
            self._sample(event)
        elif isinstance(event, Restarting):
            self._restart(event)
        elif isinstance(event, Ended):
            self.over = True
            self.ended_at = event.at
            if self._outcome.rolled_back:
                self.attempt, self.ranks = self._before
            for one in self._outcome.ranks[: len(self.ranks)]:
                if one.state != self.ranks[one.rank].state:
                    self._take(one, event.at)
        elif isinstance(event, StacksTaken):
            for number, stack in event.stacks.items():
                if event.reason == "stall":
                    rank = self.ranks[number]
                    # the rank may have gone on since it was asked
                    if rank.stalls:
                        rank.remark = f"{rank.remark.partition(': ')[0]}: {where(stack)}"
                else:
                    self.ranks[number].where = where(stack)
        elif isinstance(event, Stalled):
            self._stall(event)
        elif isinstance(event, Straggling):
            for number in event.ranks:
                self.ranks[number].remark = straggles(event.seconds)
        elif isinstance(event, TimedOut):
            for number in event.ranks:
                self._take(self._outcome.ranks[number], event.at)
        elif isinstance(event, (Displayed, AllExited, Imported, Signalled, TaskEnded)) or event.rank >= len(self.ranks):
            return  # these are shown elsewhere, or nowhere
        elif isinstance(event, (Asked, Answered, QuestionWithdrawn, SessionEnded)):
            rank = self.ranks[event.rank]
            if rank.state == "running" and not self.ending:
                rank.asking.note(event)
        else:
            if isinstance(event, Started):
                self.getting_ready = False
                self.ranks[event.rank].began = self.clock(event.at)
            self._take(self._outcome.ranks[event.rank], event.at)

    def _take(self, one: RankOutcome, at: float) -> None:
        """Show what has become of a rank."""
        rank = self.ranks[one.rank]
        if one.state != rank.state and one.state not in ("starting", "running"):
            rank.ended, rank.cpu, rank.remark = self.clock(at), 0.0, ""
            rank.asking.forget()
        rank.state, rank.pid, rank.why = one.state, one.pid, _why(one, rank.where)
        if one.failed_of is not None:
            rank.traceback = one.failed_of.traceback
        if one.exited is not None:
            rank.exit = _how(one.exited.exitcode)
        root = self._outcome.root
        if root is not self._root:
            self._root = root
            for other in self.ranks:
                other.root = root is not None and other.rank == root.rank

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


def stalls_for(seconds: float) -> str:
    """Say for how long a rank has done nothing."""
    return f"has neither computed nor written for {seconds:.0f} s"


def straggles(seconds: float) -> str:
    """Say for how long a rank goes on after others have finished."""
    return f"still at work {seconds:.0f} s after others have finished"


def _why(one: RankOutcome, where: str) -> str:
    """Say why a rank has no value: its own failure, else how it ended, or where it was if it is collateral."""
    told = ""
    if one.state == "finished":
        return ""
    if one.refused is not None:
        told = one.refused.why
    elif one.timed_out is not None:
        told = f"still running after the timeout of {one.timed_out.seconds:g} s"
    elif one.failed_of is not None:
        told = one.failed_of.summary
    if one.abandoned:
        return f"{told}; it {_HANGS}" if told else _HANGS
    if told or one.state not in ("failed", "stopped"):
        return told
    if one.exited is None:
        return "was killed: its supervision failed"
    if one.collateral:
        return where
    how = _how(one.exited.exitcode) or "ended without a value: the process left with code 0"
    return f"{how}: {one.exited.reason}" if one.exited.reason else how


def _how(exitcode: int) -> str:
    if exitcode >= 0:
        return f"exit code {exitcode}" if exitcode else ""
    try:
        return signal.Signals(-exitcode).name
    except ValueError:
        return f"signal {-exitcode}"
