"""`Attempt`: one time that all ranks of a run were started, and what came of it, put together from the events."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nblaunch.events import (
    Abandoned,
    Ending,
    Event,
    Exited,
    Finished,
    Launched,
    Raised,
    Refused,
    StacksTaken,
    Started,
    TimedOut,
)
from nblaunch.logs.run_logs import Logs, RankLogs
from nblaunch.messages.reports import ErrorReport
from nblaunch.payload import ExceptionStandIn, unpack, why
from nblaunch.processes.errors.failure import FailureMessage, lingered, silent_exit
from nblaunch.runs.failures import (
    CRASHES,
    RankFailure,
    RankTimeout,
    crash_stack,
    last_lines,
    place_of,
    root_cause_of,
    without_crash_dump,
    without_escapes,
)
from nblaunch.runs.rebuilding import Rebuilding
from nblaunch.stacks.folding import Stacks
from nblaunch.wording import spans

__all__ = ["Attempt", "failed_attempts"]

# Kinds of failures of attempts, before the rest is only counted.
_SHOWN_KINDS = 6


class Attempt:
    """One time that all ranks of a run were started, and what came of it.

    Attributes
    ----------
    number : int
        0 for the first one, 1 for the first restart.
    stacks_at_failure : Stacks
        Where the ranks that were still at work were when the first one failed, or when the time was over.
    logs : dict of int to RankLogs
        The log files of each rank.
    pids : dict of int to int
        Process id of each rank that was started.
    """

    def __init__(
        self,
        number: int,
        nprocs: int,
        keeps: Logs,
        cells: Mapping[str, int],
        collect: Iterable[str],
        refuse: Callable[[int, str, float], None],
    ) -> None:
        self.number = number
        self._failures: dict[int, RankFailure] = {}
        self.stacks_at_failure = Stacks({})
        self.logs: dict[int, RankLogs] = {}
        self.pids: dict[int, int] = {}
        self.timed_out: TimedOut | None = None
        self._nprocs = nprocs
        self._rebuilding = Rebuilding(collect, refuse)
        # the folder of the logs goes with the last failure that names it
        self._keeps = keeps
        # numbers of the notebook's cells by file name, for the stacks of crashes
        self._cells = cells
        # ranks that have sent a value; what the others have raised
        self._finished: set[int] = set()
        self._reports: dict[int, Raised] = {}
        # what ranks had raised that were held for a debugger, in case they did not live to report it
        self._held: dict[int, Raised] = {}
        self._exits: dict[int, Exited] = {}
        # ranks whose values were refused, and everybody knows
        self._told: set[int] = set()
        self._abandoned: set[int] = set()
        self._ending_at = 0.0
        self._given_up = False
        self._began = time.monotonic()

    @property
    def failures(self) -> dict[int, RankFailure]:
        """Every rank that did not finish, once the attempt has ended."""
        return dict(sorted(self._failures.items()))

    @property
    def root_cause(self) -> RankFailure | None:
        """The failure that came first, or None."""
        return root_cause_of(self._failures)

    def __repr__(self) -> str:
        root = self.root_cause
        became = "ended before any rank had failed" if self._failures else "finished"
        if root is not None:
            became = f"rank {root.rank} failed: {root.summary()}"
        return f"<Attempt {self.number}: {became}>"

    def note(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Launched):
            self._began = event.at
        elif isinstance(event, Started):
            self.pids[event.rank] = event.pid
        elif isinstance(event, Finished):
            self._finished.add(event.rank)
            self._rebuilding.add(event)
        elif isinstance(event, Raised):
            (self._held if event.held else self._reports)[event.rank] = event
        elif isinstance(event, Refused):
            self._told.add(event.rank)
        elif isinstance(event, Exited):
            self._exits[event.rank] = event
        elif isinstance(event, TimedOut):
            self.timed_out = event
        elif isinstance(event, Ending):
            self._ending_at = self._ending_at or event.at
        elif isinstance(event, StacksTaken) and event.reason in ("failure", "timeout"):
            self.stacks_at_failure = Stacks(event.stacks)
        elif isinstance(event, Abandoned):
            self._abandoned.add(event.rank)

    def conclude(self) -> None:
        """Make failures of what has been noted; no rank is left."""
        self._note_unbuilt()
        for rank in range(self._nprocs):
            if rank not in self._finished:
                failure = self._failure(rank, self._reports.pop(rank, self._held.get(rank)))
                if self._given_up:
                    return
                self._failures[rank] = failure
        self._held.clear()

    def rebuild_values(self, patience: float | None = None) -> bool:
        """Make values of what ranks have sent that finished; one that cannot be rebuilt becomes a failure.

        Parameters
        ----------
        patience : float, optional
            Seconds that one value may take to be rebuilt.

        Returns
        -------
        bool
            Whether everything is rebuilt: the patience was enough.
        """
        if patience is not None and self._rebuilding.hangs(patience):
            return False
        self._rebuilding.finish()
        self._note_unbuilt()
        return True

    def refused_late(self) -> list[Refused]:
        """Return, once, what has been found to be no value after there was nobody who would tell."""
        late = [
            Refused(rank, unbuilt.why, unbuilt.sent_at, time.monotonic())
            for rank, unbuilt in sorted(self._rebuilding.errors.items())
            if rank not in self._told
        ]
        self._told.update(event.rank for event in late)
        return late

    @property
    def values(self) -> dict[int, dict[str, Any]]:
        """What each rank has sent back by name, `VALUE` and the collected variables, as far as it is rebuilt."""
        return dict(sorted(self._rebuilding.values.items()))

    def take_no_more(self) -> None:
        """Take note that the ranks of this attempt are gone: a value that cannot be rebuilt ends nobody any more."""
        self._rebuilding.tell_nobody()

    def drop_values(self) -> None:
        """Let go of what ranks have sent that finished: all ranks have started once more."""
        self._rebuilding.drop()

    def give_up(self) -> None:
        """Count every rank as failed of which there is neither a value nor a failure yet."""
        self._given_up = True
        # no other thread adds a value or an error to them from here on
        self._rebuilding.close()
        values = self.values
        self._note_unbuilt()
        for rank in range(self._nprocs):
            if rank not in values and rank not in self._failures:
                failure = self._bare_failure(rank, at=time.monotonic())
                failure.message = FailureMessage(
                    f"what rank {rank} has sent was still being rebuilt in the notebook when that was interrupted; "
                    "code of its class, __setstate__ for example, runs then"
                )
                self._failures[rank] = failure

    def _note_unbuilt(self) -> None:
        failures = self._failures
        for rank, unbuilt in list(self._rebuilding.errors.items()):
            if rank not in failures:
                failure = self._bare_failure(rank, at=unbuilt.sent_at)
                failure.exception = unbuilt.error
                failure.message = FailureMessage(unbuilt.why)
                failures[rank] = failure

    def _failure(self, rank: int, raised: Raised | None) -> RankFailure:
        exited = self._exits.get(rank)
        if exited is None:
            failure = self._bare_failure(rank, at=self._began)
            if rank in self.pids:
                failure.message = FailureMessage(f"rank {rank} (pid {failure.pid}) was killed: its supervision failed")
            else:
                failure.message = FailureMessage(f"rank {rank} was never started")
                failure.collateral = True
            return failure
        failure = self._bare_failure(rank, at=exited.at if raised is None else raised.at)
        failure.collateral = exited.collateral
        if raised is not None:
            self._take_error(failure, raised.report)
            if exited.lingered and not failure.collateral:
                failure.lingered = lingered(exited.lingered)
                failure.add(failure.lingered)
        elif self.timed_out is not None and rank in self.timed_out.ranks:
            failure.collateral = False
            text = f"rank {rank} was still running after the timeout of {self.timed_out.seconds:g} s"
            failure.exception, failure.message = RankTimeout(text), FailureMessage(f"RankTimeout: {text}")
        elif rank in self._abandoned:
            failure.message = FailureMessage(
                f"rank {rank} (pid {failure.pid}) hangs in the kernel and did not even go when killed"
            )
        elif exited.reason:
            how = f"killed by {failure.signal_name()}" if exited.exitcode < 0 else f"gone with code {exited.exitcode}"
            failure.message = FailureMessage(f"rank {rank} (pid {failure.pid}) was {how}: {exited.reason}")
        elif exited.exitcode == 0:
            failure.message = silent_exit(rank, failure.pid)
        elif exited.exitcode > 0:
            failure.message = FailureMessage(f"rank {rank} (pid {failure.pid}) exited with code {exited.exitcode}")
        return failure

    def _take_error(self, failure: RankFailure, told: ErrorReport) -> None:
        if told.problem:
            failure.message = FailureMessage(f"rank {failure.rank} (pid {failure.pid}): {told.problem}")
            return
        failure.at = told.raised_at
        # a rank that was held for a debugger had failed by itself, whatever has ended it
        failure.collateral = failure.collateral and not (self._ending_at and told.raised_at < self._ending_at)
        if not isinstance(failure.error_file_data.get("message"), dict):
            # the rank could not write its error file, as on a full disk
            failure.message = FailureMessage(f"{told.type_name}: {told.text}")
        failure.coloured = told.traceback
        failure.traceback = without_escapes(told.traceback)
        try:
            failure.exception = unpack(told.exception)
            if not isinstance(failure.exception, BaseException):
                raise TypeError(f"it has become a {type(failure.exception).__name__}")
        except BaseException as error:  # whatever a user's object does when it is rebuilt
            failure.exception = ExceptionStandIn(told.type_name, told.text, why(error))

    def _bare_failure(self, rank: int, at: float) -> RankFailure:
        logs = self.logs.get(rank)
        exited = self._exits.get(rank)
        exitcode = exited.exitcode if exited is not None else -signal.SIGKILL
        stdout, stderr = logs.ends(crashed=-exitcode in CRASHES) if logs is not None else ("", "")
        return RankFailure(
            local_rank=rank,
            pid=self.pids.get(rank, -1),
            exitcode=exitcode,
            error_file=os.path.join(logs.path, "error.json") if logs is not None else "",
            rank=rank,
            traceback=crash_stack(stderr, self._cells),
            stdout_tail=last_lines(stdout),
            # the dump of a crash is in the traceback, in a form that can be read
            stderr_tail=last_lines(without_crash_dump(stderr)),
            stack=self.stacks_at_failure.get(rank),
            at=at,
            _keeps=self._keeps,
            found=exited.error_file if exited is not None else None,
        )


def failed_attempts(attempts: Iterable[Attempt]) -> list[str]:
    """Say what attempts have failed of, in a line each; equal failures are told once.

    Parameters
    ----------
    attempts : iterable of Attempt
        Those that were followed by another one.
    """
    kinds: list[tuple[RankFailure, list[int]]] = []
    for attempt in attempts:
        root = attempt.root_cause
        if root is None:
            continue  # what it has failed of could not be put together
        alike = next((numbers for known, numbers in kinds if _reads_like(known, root)), None)
        if alike is None:
            kinds.append((root, alike := []))
        alike.append(attempt.number)
    lines = [f"{_name_attempts(numbers)}: {_in_a_line(root)}" for root, numbers in kinds[:_SHOWN_KINDS]]
    more = [number for _, numbers in kinds[_SHOWN_KINDS:] for number in numbers]
    return [*lines, *([f"{_name_attempts(more)}: in other ways, see run.attempts"] if more else [])]


def _reads_like(one: RankFailure, other: RankFailure) -> bool:
    # without an exception the texts differ by process ids only
    return one.same_as(other) and (one.exception is None or one.summary() == other.summary())


def _name_attempts(numbers: Sequence[int]) -> str:
    return f"attempt{'s' if len(numbers) > 1 else ''} {spans(numbers)}"


def _in_a_line(root: RankFailure) -> str:
    text = root.summary()
    return f"{text if text.startswith(f'rank {root.rank} ') else f'rank {root.rank}, {text}'}{place_of(root)}"
