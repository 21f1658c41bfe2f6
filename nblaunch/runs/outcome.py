"""`RunOutcome`: what has become of each rank, and which one failed first, derived from the events.

This is the only place that decides it. The run, the panel, the record and the plain text all read it, so that they
cannot disagree.

::

    events ─► RunOutcome ─┬─► AttemptRecorder: failures as objects
                          └─► RunState: what a person is shown
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from nblaunch.events import (
    Abandoned,
    Ended,
    Ending,
    Event,
    Exited,
    Finished,
    Launched,
    Raised,
    Refused,
    Restarting,
    Started,
    TimedOut,
)

__all__ = ["RankOutcome", "RunOutcome", "first_to_fail"]


class _Failed(Protocol):
    """A rank that has failed, or was ended because another one had."""

    @property
    def collateral(self) -> bool: ...
    @property
    def at(self) -> float: ...


# In these states a rank has told what came of it. Only a refused value changes that, and not how its process ends.
_HAVE_TOLD = ("finished", "failed")

Failed = TypeVar("Failed", bound=_Failed)


def first_to_fail(those: Iterable[Failed]) -> Failed | None:
    """Return the root cause: of those that failed by themselves, the one that failed first."""
    own = [one for one in those if not one.collateral]
    return min(own, key=lambda one: one.at) if own else None


@dataclass
class RankOutcome:
    """What has become of one rank.

    Attributes
    ----------
    rank : int
        Its number.
    state : str
        ``"starting"``, ``"running"``, ``"finished"``, ``"failed"``, or ``"stopped"``: ended before it had failed by
        itself.
    at : float
        When it raised its exception, failed otherwise, or was ended, by `time.monotonic`.
    pid : int or None
        Its process.
    raised : Raised or None
        The exception that it has raised. A rank that is held for a debugger has not failed of it yet.
    refused : Refused or None
        Why the value that it has sent cannot be used.
    timed_out : TimedOut or None
        The timeout of the run, if it failed of that.
    abandoned : bool
        Whether it hangs in the kernel and did not end when it was killed.
    exited : Exited or None
        The end of its process.
    """

    rank: int
    state: str = "starting"
    at: float = 0.0
    pid: int | None = None
    raised: Raised | None = None
    refused: Refused | None = None
    timed_out: TimedOut | None = None
    abandoned: bool = False
    exited: Exited | None = None

    @property
    def collateral(self) -> bool:
        """Whether it has no value although it did not fail by itself."""
        return self.state in ("starting", "stopped")

    @property
    def failed_of(self) -> Raised | None:
        """The exception that it ended with; None while it is held for a debugger."""
        raised = self.raised
        return None if raised is None or (raised.held and self.state == "running") else raised


class RunOutcome:
    """What has become of the ranks of a run.

    Feed it every event with `note`, in order; the exceptions of ranks as `Raised`.

    Attributes
    ----------
    ranks : list of RankOutcome
        Those of the present attempt, and once the run has ended, those of the attempt that counts.
    root : RankOutcome or None
        The one of them that failed first.
    before : list of RankOutcome
        The ranks of the attempt before, until all ranks are at work again: if the restart turns out to be impossible,
        that attempt counts. Else empty.
    timed_out : bool
        Whether the time allowed for the run was over in this attempt.
    rolled_back : bool
        Whether the last restart was not possible, so that the attempt before is what counts.
    """

    def __init__(self, nprocs: int = 0) -> None:
        self.ranks: list[RankOutcome] = [RankOutcome(rank) for rank in range(nprocs)]
        self.root: RankOutcome | None = None
        self.before: list[RankOutcome] = []
        self.timed_out: bool = False
        self.rolled_back: bool = False
        self._began = 0.0
        self._ending_at: float | None = None

    def note(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Launched):
            self._begin(event.nprocs, event.at)
        elif isinstance(event, Restarting):
            self.before = self.ranks
            self._begin(len(self.ranks), event.at)
        elif isinstance(event, Ending):
            self._ending_at = event.at if self._ending_at is None else self._ending_at
        elif isinstance(event, TimedOut):
            self.timed_out = True
            for number in event.ranks:
                self._time_out(self.ranks[number], event)
        elif isinstance(event, Ended):
            self._end(event)
        elif isinstance(event, (Started, Finished, Raised, Refused, Abandoned, Exited)):
            # a value that was sent before the restart belongs to the attempt before
            is_late = isinstance(event, Refused) and event.sent_at < self._began
            ranks = self.before if self.before and is_late else self.ranks
            if event.rank < len(ranks):
                self._note_of_rank(ranks[event.rank], event)

    def _begin(self, nprocs: int, at: float) -> None:
        self.ranks = [RankOutcome(rank) for rank in range(nprocs)]
        self.root, self.timed_out, self._began, self._ending_at = None, False, at, None

    def _find_root(self) -> None:
        self.root = first_to_fail(one for one in self.ranks if one.state == "failed")

    def _end(self, ended: Ended) -> None:
        if ended.refused and self.before:
            self.ranks, self.rolled_back, self.timed_out = self.before, True, False
            self._find_root()
        for one in self.ranks:
            if one.state == "running":
                # its supervision failed, and the rank was killed for that
                self._fail(one, ended.at)

    def _note_of_rank(
        self, one: RankOutcome, event: Started | Finished | Raised | Refused | Abandoned | Exited
    ) -> None:
        if isinstance(event, Started):
            one.state, one.pid = "running", event.pid
        elif isinstance(event, Finished):
            self._forget_before()
            # a rank may still finish while it is being ended after the timeout
            had_failed, one.state, one.timed_out = one.state == "failed", "finished", None
            if had_failed:
                self._find_root()
        elif isinstance(event, Raised):
            self._forget_before()
            one.raised = event
            if not event.held:
                self._fail_of_raised(one)
        elif isinstance(event, Refused):
            one.refused = event
            if one.state == "finished":
                one.state = "running"
            self._fail(one, event.sent_at)
        elif isinstance(event, Abandoned):
            one.abandoned = True
        else:
            self._exit(one, event)

    def _forget_before(self) -> None:
        """Forget the attempt before, if all ranks are at work once more."""
        if self.before and all(other.state != "starting" for other in self.ranks):
            self.before = []

    def _time_out(self, one: RankOutcome, event: TimedOut) -> None:
        if one.state in _HAVE_TOLD:
            return  # its process may still be exiting
        # a rank that is held for a debugger had failed before the timeout
        if one.raised is None:
            one.timed_out = event
        self._fail(one, event.at if one.raised is None else one.raised.raised_at)

    def _exit(self, one: RankOutcome, exited: Exited) -> None:
        one.exited = exited
        if one.state in _HAVE_TOLD:
            return
        if one.raised is not None:
            self._fail_of_raised(one)
            if one.state == "failed":
                return
        at = exited.at if one.raised is None else one.raised.raised_at
        if exited.collateral:
            one.state, one.at = "stopped", at
        else:
            self._fail(one, at)

    def _fail_of_raised(self, one: RankOutcome) -> None:
        """Count a rank as failed of its exception, unless it raised that because it was being ended."""
        assert one.raised is not None
        at = one.raised.raised_at
        if one.timed_out is not None and at < one.timed_out.at:
            # it had raised the exception before the timeout, which came here first
            one.timed_out, one.at = None, at
            self._find_root()
        if self._ending_at is None or at < self._ending_at:
            self._fail(one, at)

    def _fail(self, one: RankOutcome, at: float) -> None:
        if one.state not in _HAVE_TOLD:
            one.state, one.at = "failed", at
            self._find_root()
