"""`Run`: one launch and what came of it, put together from the events of the gang."""

from __future__ import annotations

import asyncio
import html
import os
import reprlib
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from nblaunch.engines.base import Ranks
from nblaunch.events import Abandoned, Displayed, Ended, Event, Exited, Launched, Reported, Started, TimedOut
from nblaunch.failures import (
    CRASHES,
    RankFailure,
    RanksFailed,
    RankTimeout,
    crash_stack,
    last_lines,
    makes_no_sense,
    root_cause_of,
    without_crash_dump,
    without_escapes,
)
from nblaunch.logs import Logs
from nblaunch.naming import count_ranks, name_ranks
from nblaunch.outputs import Output, Outputs
from nblaunch.payload import ExceptionStandIn, unpack, unpack_named, why
from nblaunch.processes.errors.failure import FailureMessage, silent_exit
from nblaunch.rank.reports import read_report
from nblaunch.rank.work import VALUE
from nblaunch.sizes import listed

__all__ = ["Run"]


class Run:
    """One launch and what came of it.

    Attributes
    ----------
    nprocs : int
        Number of ranks.
    results : dict of int to object
        Value of each rank that finished.
    failures : dict of int to RankFailure
        Every other rank, once the run has ended.
    collected : dict of str to dict of int to object
        Collected variables: ``run.collected["loss"][rank]``.
    outputs : dict of int to list of Output
        What each rank displayed, in order: ``run.outputs[2][0]`` shows itself in a notebook. Updates replace the
        content, and ``clear_output()`` in a rank empties its list.
    captured : dict of str to int
        Bytes that each object took that was sent to the ranks, largest first: notebook variables by name, or the
        function and its ``args[i]``. What several of them share counts for one.
    logs : Logs
        ``run.logs[rank].stdout``, ``.stderr``, ``.path``.
    status : str
        ``"running"``, ``"finished"``, ``"failed"``, ``"timed out"``, ``"interrupted"``, ``"stopped"`` or
        ``"not started"``.
    """

    def __init__(
        self,
        nprocs: int,
        logs: Logs,
        collect: Iterable[str] = (),
        cells: dict[str, int] | None = None,
        sent: object = None,
        captured: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.nprocs = nprocs
        self.results: dict[int, Any] = {}
        self.failures: dict[int, RankFailure] = {}
        self.collected: dict[str, dict[int, Any]] = {name: {} for name in collect}
        self.captured = dict(captured)
        self._outputs = Outputs(nprocs)
        self.logs = logs
        self.status = "running"
        self._ranks: Ranks | None = None
        self._pids: dict[int, int] = {}
        self._reports: dict[int, Reported] = {}
        self._exits: dict[int, Exited] = {}
        self._timed_out: TimedOut | None = None
        self._abandoned: set[int] = set()
        self._requested = ""
        self._began = time.monotonic()
        self._ended_at: float | None = None
        self._defect: str | None = None
        self._done = threading.Event()
        # numbers of the notebook's cells by file name, for the stacks of crashes
        self._cells = cells or {}
        # what was sent must live until instances of its classes have come back
        self._sent = sent

    @property
    def ok(self) -> bool:
        """Whether every rank finished."""
        return self.status == "finished"

    @property
    def root_cause(self) -> RankFailure | None:
        """The failure that came first, or None."""
        return root_cause_of(self.failures)

    @property
    def elapsed(self) -> float:
        """Seconds from the launch to the end, or to now."""
        return (self._ended_at or time.monotonic()) - self._began

    @property
    def pids(self) -> dict[int, int]:
        """Process id of every rank that was started."""
        return dict(self._pids)

    @property
    def outputs(self) -> dict[int, list[Output]]:
        """What each rank displayed so far."""
        return self._outputs.by_rank

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended; tell whether it has.

        Parameters
        ----------
        timeout : float, optional
            Longest time in seconds.

        Raises
        ------
        RuntimeError
            If nblaunch itself failed.
        """
        ended = self._done.wait(timeout)
        if ended and self._ranks is not None:
            self._ranks.join()
        if self._defect is not None:
            raise RuntimeError(f"nblaunch failed while it watched the ranks; they were killed:\n{self._defect}")
        return ended

    def __await__(self) -> Generator[Any, None, Run]:
        yield from asyncio.get_running_loop().run_in_executor(None, self.wait).__await__()
        return self

    def interrupt(self) -> None:
        """Interrupt the ranks as Ctrl-C does; those that do not go are terminated, then killed."""
        self._end("interrupted", lambda ranks: ranks.interrupt())

    def stop(self) -> None:
        """Terminate the ranks; those that do not go are killed."""
        self._end("stopped", lambda ranks: ranks.stop())

    def kill(self) -> None:
        """Kill the ranks at once."""
        self._end("stopped", lambda ranks: ranks.kill())

    def raise_for_failures(self) -> None:
        """Raise `RanksFailed` if the run has ended and not every rank finished."""
        if self.failures:
            raise RanksFailed(self)

    def _end(self, status: str, order: Callable[[Ranks], None]) -> None:
        if not self._done.is_set() and self._ranks is not None:
            self._requested = self._requested or status
            order(self._ranks)

    # ---- events, in the supervisor thread

    def note(self, event: Event) -> None:
        """Take an event; they come in order, from the thread that watches the ranks."""
        if isinstance(event, Launched):
            self.logs.found(event)
        elif isinstance(event, Started):
            self._pids[event.rank] = event.pid
        elif isinstance(event, Displayed):
            self._outputs.note(event)
        elif isinstance(event, Reported) and event.kind in ("value", "error"):
            self._reports[event.rank] = event
        elif isinstance(event, Exited):
            self._exits[event.rank] = event
        elif isinstance(event, TimedOut):
            self._timed_out = event
        elif isinstance(event, Abandoned):
            self._abandoned.add(event.rank)
        elif isinstance(event, Ended):
            self._conclude(event)

    def belongs_to(self, ranks: Ranks) -> None:
        """Take note of who can end the ranks."""
        self._ranks = ranks

    def give_up(self, status: str) -> None:
        """Conclude a run whose start did not succeed, and of which no rank is left."""
        if not self._done.is_set():
            self._conclude(Ended(time.monotonic()))
        self.status = status

    def _conclude(self, ended: Ended) -> None:
        self._ended_at = ended.at
        self._defect = ended.defect
        try:
            for rank in range(self.nprocs):
                report = self._reports.pop(rank, None)
                if report is not None and report.kind == "value":
                    self._take_value(rank, report)
                else:
                    self.failures[rank] = self._failure(rank, report)
            self.status = self._final_status()
        except BaseException:
            # also SystemExit, which the unpickling of a user's object may raise: somebody waits for the end
            self._defect = traceback.format_exc()
            self.status = "failed"
        finally:
            self._sent = None
            self._done.set()

    def _take_value(self, rank: int, report: Reported) -> None:
        try:
            body = unpack_named(report.body)
            value = body.pop(VALUE)
            collected = {name: body[name] for name in self.collected}
        except BaseException as error:  # whatever a user's object does when it is rebuilt
            failure = self._bare_failure(rank, at=report.at)
            failure.exception = error
            failure.message = FailureMessage(
                f"the value of rank {rank} arrived but cannot be rebuilt in the notebook: {why(error)}"
            )
            self.failures[rank] = failure
            return
        self.results[rank] = value
        for name, variable in collected.items():
            self.collected[name][rank] = variable

    def _failure(self, rank: int, report: Reported | None) -> RankFailure:
        exited = self._exits.get(rank)
        if exited is None:
            failure = self._bare_failure(rank, at=self._began)
            if rank in self._pids:
                failure.message = FailureMessage(f"rank {rank} (pid {failure.pid}) was killed: its supervision failed")
            else:
                failure.message = FailureMessage(f"rank {rank} was never started")
                failure.collateral = True
            return failure
        failure = self._bare_failure(rank, at=exited.at if report is None else report.at)
        failure.collateral = exited.collateral
        if report is not None:
            self._take_error(failure, report)
        elif self._timed_out is not None and rank in self._timed_out.ranks:
            failure.collateral = False
            text = f"rank {rank} was still running after the timeout of {self._timed_out.seconds:g} s"
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

    def _take_error(self, failure: RankFailure, report: Reported) -> None:
        try:
            told = read_report(report.body)
        except ValueError as error:
            failure.message = FailureMessage(
                f"rank {failure.rank} (pid {failure.pid}): {makes_no_sense('exception', error)}"
            )
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
        logs = self.logs.get(rank)
        exitcode = self._exits[rank].exitcode if rank in self._exits else -signal.SIGKILL
        stdout, stderr = logs.ends(crashed=-exitcode in CRASHES) if logs is not None else ("", "")
        return RankFailure(
            local_rank=rank,
            pid=self._pids.get(rank, -1),
            exitcode=exitcode,
            error_file=os.path.join(logs.path, "error.json") if logs is not None else "",
            rank=rank,
            traceback=crash_stack(stderr, self._cells),
            stdout_tail=last_lines(stdout),
            # the dump of a crash is in the traceback, in a form that can be read
            stderr_tail=last_lines(without_crash_dump(stderr)),
            at=at,
            _keeps=self.logs,
        )

    def _final_status(self) -> str:
        if self._defect is not None:
            return "failed"
        if not self.failures:
            return "finished"
        if self._requested:
            return self._requested
        return "timed out" if self._timed_out is not None else "failed"

    # ---- how it reads

    def summary(self) -> str:
        """Say in one line what became of the run."""
        ranks = count_ranks(self.nprocs)
        own = sum(not failure.collateral for failure in self.failures.values())
        # of a run that was ended from outside, all ranks without a result count
        which = f"{own or len(self.failures)} of {ranks}" if self.failures else ranks
        parts = [f"{which} {self.status}", f"{self.elapsed:.1f} s"]
        if self.failures and self.results:
            parts.append(f"results of {name_ranks(self.results)}")
        if self.root_cause is not None:
            parts.append(f"root cause: rank {self.root_cause.rank}, {self.root_cause.summary()}")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"<Run: {self.summary()}>"

    def _repr_html_(self) -> str:
        rows = []
        for rank in range(self.nprocs):
            if rank in self.results:
                state, text = "finished", _short(self.results[rank])
            elif rank in self.failures:
                state = "ended" if self.failures[rank].collateral else "failed"
                text = self.failures[rank].summary()
            else:
                state, text = "running", ""
            cells = (str(rank), state, text)
            rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        captured = f"<p>sent to each rank: {html.escape(listed(self.captured))}</p>" if self.captured else ""
        return (
            f"<p>{html.escape(self.summary())}</p>{captured}<table><thead><tr><th>rank</th><th>state</th>"
            f"<th>value or failure</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
            f"<p>logs: <code>{html.escape(self.logs.path)}</code></p>"
        )


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 200


def _short(value: object) -> str:
    try:
        return _REPR.repr(value)
    except Exception as error:
        return f"<a {type(value).__name__} whose repr failed: {error}>"
