"""`PContext`: processes that were started together, all or nothing; and `RunProcsResult`, what became of them.

The contexts are thin faces of `nblaunch.processes.gang.gang.Gang`, which starts, watches and ends the processes;
what is theirs is the translation into `RunProcsResult`, the copies of log lines on the console (tee), and
`SignalException` on the main thread.
"""

from __future__ import annotations

import abc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TextIO

from nblaunch.events import Ended, Event, Exited, Signalled
from nblaunch.exports import exported_by
from nblaunch.processes.elastic.logs_specs import LogsSpecs, _validate_full_rank
from nblaunch.processes.elastic.termination import TERMINATION
from nblaunch.processes.errors import ProcessFailure
from nblaunch.processes.errors.failure import NOT_AVAILABLE
from nblaunch.processes.gang.escalation import escalation
from nblaunch.processes.gang.gang import Gang
from nblaunch.processes.tail_log import TailLog

__all__ = ["SETTLE", "PContext", "RunProcsResult"]

logger: logging.Logger = logging.getLogger(__name__)

# Longest time, in seconds, between the first failure and the end of the other ranks.
SETTLE = 0.2


@exported_by("nblaunch.processes.api")
@dataclass
class RunProcsResult:
    """What became of the processes, by local rank.

    Attributes
    ----------
    return_values : dict of int to object
        Values of a function's ranks; None for each rank of a program. Empty if the run failed.
    failures : dict of int to ProcessFailure
        In the order in which the ranks failed.
    stdouts, stderrs : dict of int to str
        Log files; an empty string where the stream was not redirected.
    """

    return_values: dict[int, Any] = field(default_factory=dict)
    failures: dict[int, ProcessFailure] = field(default_factory=dict)
    stdouts: dict[int, str] = field(default_factory=dict)
    stderrs: dict[int, str] = field(default_factory=dict)

    def is_failed(self) -> bool:
        """Tell whether any rank failed."""
        return len(self.failures) > 0


@exported_by("nblaunch.processes.api")
class PContext(abc.ABC):
    """Processes that were started together; see `start_processes`, which makes one.

    Parameters
    ----------
    name : str
        Shown in front of every line that is teed.
    entrypoint : callable or str
        Function, or program.
    args, envs : dict
        Arguments and additional environment variables of each local rank.
    logs_specs : LogsSpecs
        Where output goes.
    log_line_prefixes : dict of int to str, optional
        Replace the header ``[<name><rank>]:`` of teed lines.
    duplicate_stdout_filters, duplicate_stderr_filters : list of str, optional
        Write the teed lines that contain any of these to ``filtered_stdout.log`` or ``filtered_stderr.log`` too.
    """

    def __init__(
        self,
        name: str,
        entrypoint: Callable[..., Any] | str,
        args: dict[int, tuple[Any, ...]],
        envs: dict[int, dict[str, str]],
        logs_specs: LogsSpecs,
        log_line_prefixes: dict[int, str] | None = None,
        duplicate_stdout_filters: list[str] | None = None,
        duplicate_stderr_filters: list[str] | None = None,
    ) -> None:
        nprocs = len(args)
        _validate_full_rank(args, nprocs, "args")
        _validate_full_rank(envs, nprocs, "envs")
        _validate_args(args)
        _validate_envs(envs)
        logs_dest = logs_specs.reify(envs)
        _validate_full_rank(logs_dest.stdouts, nprocs, "stdouts")
        _validate_full_rank(logs_dest.stderrs, nprocs, "stderrs")

        self.name = name
        self.entrypoint = entrypoint
        self.args = args
        self.envs = envs
        self.stdouts: dict[int, str] = logs_dest.stdouts
        self.stderrs: dict[int, str] = logs_dest.stderrs
        self.error_files: dict[int, str] = logs_dest.error_files
        self.nprocs = nprocs
        self.filtered_stdout: TextIO | None = None
        self.filtered_stderr: TextIO | None = None

        self._gang: Gang | None = None
        self._exits: dict[int, Exited] = {}  # in the order of the exits
        self._result: RunProcsResult | None = None
        self._defect: str | None = None
        self._last_signal: signal.Signals | None = None
        self._closed = False
        self._open_files = ExitStack()
        self._handlers = ExitStack()
        self._lock = threading.RLock()
        self._tail_logs = [
            TailLog(name, logs_dest.tee_stdouts, sys.stdout, log_line_prefixes),
            TailLog(name, logs_dest.tee_stderrs, sys.stderr, log_line_prefixes),
        ]
        if duplicate_stdout_filters:
            self.filtered_stdout = self._add_filtered_log(
                logs_dest.filtered_stdout, logs_dest.tee_stdouts, log_line_prefixes, duplicate_stdout_filters
            )
        if duplicate_stderr_filters:
            self.filtered_stderr = self._add_filtered_log(
                logs_dest.filtered_stderr, logs_dest.tee_stderrs, log_line_prefixes, duplicate_stderr_filters
            )

    def _add_filtered_log(
        self, path: str, sources: dict[int, str], prefixes: dict[int, str] | None, needles: list[str]
    ) -> TextIO:
        target = self._open_files.enter_context(open(path, "w", errors="replace", buffering=1))
        self._tail_logs.append(
            TailLog(
                self.name,
                sources,
                target,
                prefixes,
                log_line_filter=lambda line: any(needle in line for needle in needles),
            )
        )
        return target

    def start(self) -> None:
        """Start the processes.

        On the main thread of a plain program, SIGTERM, SIGINT, SIGHUP and SIGQUIT (or those named in the variable
        ``TORCHELASTIC_SIGNALS_TO_HANDLE``) raise `SignalException` from now on; the handlers that were there before
        are put back when the run has ended. In a notebook's kernel no handler is touched.

        Raises
        ------
        ValueError
            If it was started before.
        OSError
            If the system refuses a process.
        """
        if self._gang is not None:
            raise ValueError("start() was called twice: make a new context for another run")
        if self._closed:
            raise ValueError("start() was called after close(): make a new context")
        self._handlers.callback(TERMINATION.acquire().release)
        try:
            self._gang = self._make_gang()
            self._gang.start()
            for tail_log in self._tail_logs:
                tail_log.start()
        except BaseException:
            self.close()
            raise

    @abc.abstractmethod
    def _make_gang(self) -> Gang:
        """Return the gang, not yet started."""

    @abc.abstractmethod
    def _succeeded(self, exit_: Exited) -> bool:
        """Tell whether a rank has succeeded."""

    @abc.abstractmethod
    def _what_runs(self) -> str:
        """Say in words what each rank runs."""

    @abc.abstractmethod
    def _judge(self) -> RunProcsResult:
        """Translate what the gang told into a result."""

    def wait(self, timeout: float = -1, period: float = 1) -> RunProcsResult | None:
        """Wait until all processes have succeeded or, after a failure, all have ended.

        Parameters
        ----------
        timeout : float
            Seconds to wait; negative is for ever, 0 only asks.
        period : float
            Nothing is polled here. After a first failure the others get at most this many seconds, and at most
            0.2 s, to fail of their own accord before they are ended.

        Returns
        -------
        RunProcsResult or None
            None if processes are still running when the time is over.

        Raises
        ------
        SignalException
            If a signal arrives meanwhile; see `start`.
        """
        if self._gang is None:
            raise RuntimeError("wait() was called before start(): there is nothing to wait for")
        self._gang.settle_within(min(SETTLE, max(0.0, period)))
        if not self._gang.join(None if timeout < 0 else timeout):
            return None
        with self._lock:
            if self._defect is not None:
                self._release()
                raise RuntimeError(
                    f"the supervision of the processes of {self.name!r} broke down, which is a fault of nblaunch; all "
                    f"of them have been killed:\n{self._defect}"
                )
            if self._result is None:
                self._release()
                self._result = self._judge()
        return self._result

    def pids(self) -> dict[int, int]:
        """Return the process id of each local rank."""
        if self._gang is None:
            raise RuntimeError("pids() was called before start(): there are no processes yet")
        return self._gang.pids

    def close(self, death_sig: signal.Signals | None = None, timeout: int = 30) -> None:
        """End all processes, their children included, and put everything back.

        Parameters
        ----------
        death_sig : signal.Signals, optional
            First signal; SIGTERM by default.
        timeout : int
            Seconds after which SIGKILL follows.
        """
        if self._gang is not None:
            first = signal.SIGTERM if death_sig is None else signal.Signals(death_sig)
            self._gang.end("close() was called", escalation(first, grace=timeout))
            self._gang.join()
        with self._lock:
            self._closed = True
            self._release()

    def _release(self) -> None:
        for tail_log in self._tail_logs:
            tail_log.stop()
        self._open_files.close()
        self._handlers.close()

    def _note(self, event: Event) -> None:
        if isinstance(event, Exited):
            if self._is_first_failure(event):
                logger.error(
                    "local rank %d (pid %d) failed with exit code %d: %s",
                    event.rank,
                    self.pids()[event.rank],
                    event.exitcode,
                    self._what_runs(),
                )
            self._exits[event.rank] = event
        elif isinstance(event, Signalled):
            self._log_signals(event)
        elif isinstance(event, Ended):
            self._defect = event.defect

    def _is_first_failure(self, exit_: Exited) -> bool:
        if exit_.collateral or self._succeeded(exit_):
            return False
        return all(known.collateral or self._succeeded(known) for known in self._exits.values())

    def _log_signals(self, event: Signalled) -> None:
        number = signal.Signals(event.signal)
        before, self._last_signal = self._last_signal, number
        for rank, pid in event.pids.items():
            if number == signal.SIGKILL and before is not None:
                logger.warning(
                    "process %d of local rank %d did not end after %s and is ended by force: %s",
                    pid,
                    rank,
                    before.name,
                    number.name,
                )
            else:
                logger.warning("process %d of local rank %d is sent the closing signal %s", pid, rank, number.name)

    def _failure(self, rank: int, exitcode: int) -> ProcessFailure:
        failure = ProcessFailure(
            local_rank=rank, pid=self.pids()[rank], exitcode=exitcode, error_file=self.error_files[rank]
        )
        if failure.error_file == NOT_AVAILABLE:
            # Without an error file it took the present for its time, and the others may have needed long to go. The
            # root cause is the earliest.
            failure.timestamp = int(time.time() - (time.monotonic() - self._exits[rank].at))
        return failure


def _validate_args(args: Mapping[int, Any]) -> None:
    for rank, arguments in args.items():
        if isinstance(arguments, (str, bytes)) or not isinstance(arguments, Iterable):
            raise TypeError(
                f"args[{rank}] is {arguments!r}: it must be a tuple of arguments, for example ({arguments!r},)"
            )


def _validate_envs(envs: Mapping[int, Mapping[str, str]]) -> None:
    for rank, env in envs.items():
        for key, value in env.items():
            if not all(isinstance(part, str) for part in (key, value)):
                raise TypeError(
                    f"envs[{rank}][{key!r}] is {value!r}: names and values of environment variables are str"
                )
            if not key or "=" in key or "\0" in key + value:
                raise ValueError(
                    f"envs[{rank}][{key!r}] is {value!r}: names of environment variables are not empty and contain no "
                    "'=', and neither names nor values contain a null character"
                )
