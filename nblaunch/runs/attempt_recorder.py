"""`AttemptRecorder`: values and failures of one attempt, made of what its ranks have sent and how they have ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nblaunch.events import Displayed, Event, Finished, Launched, Raised, Refused, StacksTaken, Started
from nblaunch.logs.run_logs import Logs
from nblaunch.messages.reports import ErrorReport
from nblaunch.payload import ExceptionStandIn, unpack, why
from nblaunch.processes.errors.failure import FailureMessage, lingered, silent_exit
from nblaunch.runs.attempt import Attempt
from nblaunch.runs.failures import (
    CRASHES,
    RankFailure,
    RankTimeout,
    crash_stack,
    last_lines,
    without_crash_dump,
    without_escapes,
)
from nblaunch.runs.outcome import RankOutcome, RunOutcome
from nblaunch.runs.outputs import Outputs
from nblaunch.runs.rebuilding import Rebuilding
from nblaunch.stacks.folding import Stacks

__all__ = ["AttemptRecorder"]

_HANGS = "hangs in the kernel and did not even go when killed"


class AttemptRecorder:
    """Takes the events of one attempt, and makes values and failures of them.

    Parameters
    ----------
    attempt : Attempt
        Gets the failures, process ids and stacks.
    outcome : RunOutcome
        What has become of the ranks; it gets every event before this object does.
    keeps : Logs
        Referred to by each failure, so that the folder of the logs stays as long as a failure that names it.
    cells : mapping of str to int
        Numbers of the notebook's cells by file name, for the stacks of crashes.
    collect : iterable of str
        Names of the variables that come beside each rank's value.
    refuse : callable
        See `Rebuilding`.

    Attributes
    ----------
    attempt : Attempt
        See the parameter.
    launched : Launched or None
        The event that began the attempt.
    outputs : Outputs
        What the ranks display.
    """

    def __init__(
        self,
        attempt: Attempt,
        outcome: RunOutcome,
        keeps: Logs,
        cells: Mapping[str, int],
        collect: Iterable[str],
        refuse: Callable[[int, str, float], None],
    ) -> None:
        self.attempt = attempt
        self.launched: Launched | None = None
        self.outputs: Outputs = Outputs(len(outcome.ranks))
        self._outcome = outcome
        self._rebuilding = Rebuilding(collect, refuse)
        self._keeps = keeps
        self._stacks_reason = ""
        self._cells = cells
        # what ranks have raised, also those that are held for a debugger
        self._reports: dict[int, ErrorReport] = {}
        # ranks whose values were refused in an event
        self._told: set[int] = set()
        self._given_up = False

    def note(self, event: Event) -> None:
        """Take an event."""
        attempt = self.attempt
        if isinstance(event, Launched):
            self.launched = event
        elif isinstance(event, Started):
            attempt.pids[event.rank] = event.pid
        elif isinstance(event, Finished):
            self._rebuilding.add(event)
        elif isinstance(event, Raised):
            self._reports[event.rank] = event.report
        elif isinstance(event, Displayed):
            self.outputs.note(event)
        elif isinstance(event, Refused):
            self._told.add(event.rank)
        elif isinstance(event, StacksTaken) and event.reason in ("failure", "timeout"):
            # each node of an engine tells of its own ranks
            known = attempt.stacks_at_failure if event.reason == self._stacks_reason else {}
            attempt.stacks_at_failure = Stacks({**known, **event.stacks})
            self._stacks_reason = event.reason

    def conclude(self) -> None:
        """Make a failure for each rank without a value, once no rank is left."""
        self._note_unbuilt()
        for one in self._outcome.ranks:
            if one.state != "finished" and one.rank not in self.attempt.failures:
                failure = self._failure(one)
                if self._given_up:
                    return
                self._add(failure)

    def _add(self, failure: RankFailure) -> None:
        self.attempt.failures = dict(sorted({**self.attempt.failures, failure.rank: failure}.items()))

    def rebuild_values(self, patience: float | None = None) -> bool:
        """Rebuild the values that ranks have sent; one that cannot be rebuilt becomes a failure.

        Parameters
        ----------
        patience : float, optional
            Seconds that one value may take to be rebuilt.

        Returns
        -------
        bool
            Whether everything is rebuilt; False if a value took longer.
        """
        if patience is not None and self._rebuilding.hangs(patience):
            return False
        self._rebuilding.finish()
        self._note_unbuilt()
        return True

    def refused_late(self) -> list[Refused]:
        """Return, once each, the refusals of values that were not told in an event because no rank was left."""
        late = [
            Refused(rank, unbuilt.why, unbuilt.sent_at, time.monotonic())
            for rank, unbuilt in sorted(self._rebuilding.errors.items())
            if rank not in self._told
        ]
        self._told.update(event.rank for event in late)
        return late

    @property
    def values(self) -> dict[int, dict[str, Any]]:
        """What each rank has sent by name, `VALUE` and the collected variables, as far as that is rebuilt."""
        return dict(sorted(self._rebuilding.values.items()))

    def take_no_more(self) -> None:
        """Refuse no values any more: the ranks of this attempt are gone."""
        self._rebuilding.tell_nobody()

    def drop(self) -> None:
        """Drop what ranks have sent; the failures stay."""
        self._rebuilding.drop()
        self._reports.clear()

    def give_up(self) -> None:
        """Count every rank as failed that has neither a value nor a failure yet."""
        self._given_up = True
        # no other thread adds a value or an error from here on
        self._rebuilding.close()
        values = self.values
        self._note_unbuilt()
        for rank in range(len(self._outcome.ranks)):
            if rank not in values and rank not in self.attempt.failures:
                failure = self._bare_failure(rank, at=time.monotonic())
                failure.message = FailureMessage(
                    f"what rank {rank} has sent was still being rebuilt in the notebook when that was interrupted; "
                    "code of its class, __setstate__ for example, runs then"
                )
                self._add(failure)

    def _note_unbuilt(self) -> None:
        for rank, unbuilt in list(self._rebuilding.errors.items()):
            if rank not in self.attempt.failures:
                self._outcome.note(Refused(rank, unbuilt.why, unbuilt.sent_at, time.monotonic()))
                failure = self._bare_failure(rank, at=unbuilt.sent_at)
                failure.exception = unbuilt.error
                failure.message = FailureMessage(unbuilt.why)
                self._add(failure)

    def _failure(self, one: RankOutcome) -> RankFailure:
        exited = one.exited
        failure = self._bare_failure(one.rank, one.at)
        failure.collateral = one.collateral
        who = f"rank {one.rank} (pid {failure.pid})"
        report = self._reports.get(one.rank)
        if report is not None:
            self._take_error(failure, report)
            if exited is not None and exited.lingered and not failure.collateral:
                failure.lingered = lingered(exited.lingered)
                failure.add(failure.lingered)
        if one.timed_out is not None:
            # it counts even if the rank has raised something since, because it was being ended
            text = f"rank {one.rank} was still running after the timeout of {one.timed_out.seconds:g} s"
            failure.exception, failure.message = RankTimeout(text), FailureMessage(f"RankTimeout: {text}")
        elif report is not None:
            pass  # the message is that of the exception
        elif one.abandoned:
            failure.message = FailureMessage(f"{who} {_HANGS}")
        elif exited is None and one.pid is None:
            failure.message = FailureMessage(f"rank {one.rank} was never started")
        elif exited is None:
            failure.message = FailureMessage(f"{who} was killed: its supervision failed")
        elif exited.reason:
            how = f"killed by {failure.signal_name()}" if exited.exitcode < 0 else f"gone with code {exited.exitcode}"
            failure.message = FailureMessage(f"{who} was {how}: {exited.reason}")
        elif exited.exitcode == 0:
            failure.message = silent_exit(one.rank, failure.pid)
        elif exited.exitcode > 0:
            failure.message = FailureMessage(f"{who} exited with code {exited.exitcode}")
        if one.abandoned and (one.timed_out is not None or report is not None):
            failure.add(f"It {_HANGS}")
        return failure

    def _take_error(self, failure: RankFailure, told: ErrorReport) -> None:
        if told.problem:
            failure.message = FailureMessage(f"rank {failure.rank} (pid {failure.pid}): {told.problem}")
            return
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
        logs = self.attempt.logs.get(rank)
        exited = self._outcome.ranks[rank].exited
        exitcode = -signal.SIGKILL if exited is None else exited.exitcode
        stdout, stderr = logs.ends(crashed=-exitcode in CRASHES) if logs is not None else ("", "")
        return RankFailure(
            local_rank=rank if self.launched is None else self.launched.local_rank(rank),
            pid=self.attempt.pids.get(rank, -1),
            exitcode=exitcode,
            error_file=os.path.join(logs.path, "error.json") if logs is not None else "",
            rank=rank,
            traceback=crash_stack(stderr, self._cells),
            stdout_tail=last_lines(stdout),
            # the dump of a crash is in the traceback, in a form that can be read
            stderr_tail=last_lines(without_crash_dump(stderr)),
            stack=self.attempt.stacks_at_failure.get(rank),
            at=at,
            _keeps=self._keeps,
            _found=None if exited is None else exited.error_file,
        )
