"""`start_processes` and its contexts, with the names and the meaning of torch's elastic multiprocessing package.

All or nothing: a run either returns the values of all ranks or the failures. The contexts are thin faces of
`nblaunch.processes.gang.Gang`, which starts, watches and ends the processes; what is theirs is the translation into
`RunProcsResult`, the copies of log lines on the console (tee), and `SignalException` on the main thread.

Reference for names and behaviour: torch 2.13, ``torch.distributed.elastic.multiprocessing``.
"""

from __future__ import annotations

import abc
import multiprocessing.process
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TextIO

from nblaunch.events import Ended, Ending, Event, Exited, Reported
from nblaunch.payload import Packed, pack, unpack
from nblaunch.processes.child import Birth
from nblaunch.processes.direct_children import Program
from nblaunch.processes.errors import ProcessFailure
from nblaunch.processes.errors.failure import NOT_AVAILABLE, FailureMessage, silent_exit
from nblaunch.processes.function import _wrap, get_std_cm, importing_main
from nblaunch.processes.gang import Gang, escalation
from nblaunch.processes.logs_specs import (
    DefaultLogsSpecs,
    LogsDest,
    LogsSpecs,
    Std,
    _validate_full_rank,
    to_map,
)
from nblaunch.processes.start_methods import START_METHODS
from nblaunch.processes.tail_log import TailLog
from nblaunch.processes.termination import TERMINATION, SignalException

__all__ = [
    "DefaultLogsSpecs",
    "LogsDest",
    "LogsSpecs",
    "MultiprocessContext",
    "PContext",
    "RunProcsResult",
    "SignalException",
    "Std",
    "SubprocessContext",
    "_validate_full_rank",
    "_wrap",
    "get_std_cm",
    "start_processes",
    "to_map",
]

# Longest time, in seconds, between the first failure and the end of the other ranks.
_SETTLE = 0.2


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
        self.stdouts = logs_dest.stdouts
        self.stderrs = logs_dest.stderrs
        self.error_files = logs_dest.error_files
        self.nprocs = nprocs
        self.filtered_stdout: TextIO | None = None
        self.filtered_stderr: TextIO | None = None

        self._gang: Gang | None = None
        self._exits: dict[int, Exited] = {}
        self._exit_order: list[int] = []
        self._result: RunProcsResult | None = None
        self._ending = False
        self._defect: str | None = None
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
        self._gang.settle_within(min(_SETTLE, max(0.0, period)))
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
            self._exits[event.rank] = event
            self._exit_order.append(event.rank)
        elif isinstance(event, Ending):
            self._ending = True
        elif isinstance(event, Ended):
            self._defect = event.defect

    def _failure(self, rank: int, exitcode: int) -> ProcessFailure:
        failure = ProcessFailure(
            local_rank=rank, pid=self.pids()[rank], exitcode=exitcode, error_file=self.error_files[rank]
        )
        if failure.error_file == NOT_AVAILABLE:
            # Without an error file it took the present for its time, and the others may have needed long to go. The
            # root cause is the earliest.
            failure.timestamp = int(time.time() - (time.monotonic() - self._exits[rank].at))
        return failure


class MultiprocessContext(PContext):
    """Processes that run a function; see `start_processes`."""

    def __init__(
        self,
        name: str,
        entrypoint: Callable[..., Any],
        args: dict[int, tuple[Any, ...]],
        envs: dict[int, dict[str, str]],
        start_method: str,
        logs_specs: LogsSpecs,
        log_line_prefixes: dict[int, str] | None = None,
        numa_options: None = None,
        duplicate_stdout_filters: list[str] | None = None,
        duplicate_stderr_filters: list[str] | None = None,
    ) -> None:
        if not callable(entrypoint):
            raise TypeError(
                f"entrypoint is a {type(entrypoint).__name__}: it must be a function, or the name of a program as str"
            )
        if start_method not in START_METHODS:
            raise ValueError(
                f"unknown start_method {start_method!r}: choose one of {', '.join(map(repr, START_METHODS))}"
            )
        _refuse_numa(numa_options)
        self.start_method = start_method
        self._bodies: dict[int, bytearray] = {}
        self._error_times: dict[int, float] = {}
        self._error_texts: dict[int, str] = {}
        super().__init__(
            name,
            entrypoint,
            args,
            envs,
            logs_specs,
            log_line_prefixes,
            duplicate_stdout_filters,
            duplicate_stderr_filters,
        )

    def _make_gang(self) -> Gang:
        main_module, main_path = _main_module()
        by_import = self.start_method != "fork"
        environment = dict(os.environ)
        births = [
            Birth(
                rank=rank,
                entry="nblaunch.processes.function:run",
                env=environment | self.envs[rank],
                cwd=os.getcwd(),
                stdout=self.stdouts[rank],
                stderr=self.stderrs[rank],
                sys_path=tuple(sys.path),
                argv=tuple(sys.argv),
                main_module=main_module if by_import else "",
                main_path=main_path if by_import else "",
            )
            for rank in range(self.nprocs)
        ]
        work = (self.entrypoint, self.args)
        return Gang(
            births,
            partial(START_METHODS[self.start_method], prepare="nblaunch.processes.function"),
            self._note,
            payload=[self._pack(work, bool(main_module or main_path))] if by_import else [],
            inherited=None if by_import else work,
            settle=_SETTLE,
        )

    def _pack(self, work: tuple[Any, Any], main_by_reference: bool) -> Packed:
        entrypoint, args = work
        try:
            return pack(work, main_by_reference=main_by_reference)
        except Exception as error:
            culprit = f"the entrypoint {getattr(entrypoint, '__qualname__', entrypoint)!r}"
            for rank, arguments in args.items():
                for position, argument in enumerate(arguments):
                    try:
                        pack(argument, main_by_reference=main_by_reference)
                    except Exception:
                        culprit = f"args[{rank}][{position}], of type {type(argument).__name__},"
                        break
                else:
                    continue
                break
            raise TypeError(
                f"{culprit} cannot be pickled and so cannot be sent to a process: {type(error).__name__}: {error}. "
                "Create it inside the function, or use start_method='fork'"
            ) from error

    def _note(self, event: Event) -> None:
        if isinstance(event, Exited) and event.reported == "value" and self._ending:
            # its function had returned; what ended its process was the failure of another one
            event = replace(event, collateral=True)
        super()._note(event)
        if isinstance(event, Reported):
            if event.kind == "value":
                self._bodies[event.rank] = event.body
            elif event.kind == "error":
                self._error_times[event.rank] = event.at
                self._error_texts[event.rank] = event.body.decode(errors="replace")

    def _judge(self) -> RunProcsResult:
        failed = {
            rank: exit_ for rank, exit_ in self._exits.items() if exit_.reported != "value" or exit_.exitcode != 0
        }
        # Ranks that were ended because another one failed are no failures of their own; but if nobody failed
        # (close() was called) they are all that can be told.
        own = {rank: exit_ for rank, exit_ in failed.items() if not exit_.collateral} or failed
        order = sorted(own, key=lambda rank: self._error_times.get(rank, own[rank].at))
        failures = {rank: self._failure_of(own[rank]) for rank in order}
        values: dict[int, Any] = {}
        if not failed:
            for rank in range(self.nprocs):
                try:
                    values[rank] = unpack(self._bodies[rank])
                except Exception as error:
                    failures[rank] = self._failure(rank, 0)
                    failures[rank].message = FailureMessage(
                        f"the value that rank {rank} returned cannot be rebuilt here: {type(error).__name__}: {error}"
                    )
        self._bodies.clear()
        return RunProcsResult({} if failures else values, failures, self.stdouts, self.stderrs)

    def _failure_of(self, exit_: Exited) -> ProcessFailure:
        failure = self._failure(exit_.rank, exit_.exitcode)
        if exit_.exitcode == 0 and exit_.reported is None:
            failure.message = silent_exit(exit_.rank, failure.pid)
        elif exit_.exitcode > 0 and failure.error_file == NOT_AVAILABLE and exit_.rank in self._error_texts:
            # leaving by sys.exit() is not recorded, and with log_dir=os.devnull nothing is
            failure.message = FailureMessage(
                f"exited with code {exit_.exitcode} and left no error file: {self._error_texts[exit_.rank]}"
            )
        return failure


class SubprocessContext(PContext):
    """Processes that run a program; see `start_processes`."""

    def __init__(
        self,
        name: str,
        entrypoint: str,
        args: dict[int, tuple[Any, ...]],
        envs: dict[int, dict[str, str]],
        logs_specs: LogsSpecs,
        log_line_prefixes: dict[int, str] | None = None,
        numa_options: None = None,
        duplicate_stdout_filters: list[str] | None = None,
        duplicate_stderr_filters: list[str] | None = None,
    ) -> None:
        _refuse_numa(numa_options)
        for rank, env in envs.items():
            path = env.get("PATH", os.environ.get("PATH", os.defpath))
            if shutil.which(entrypoint, path=path) is None:
                raise FileNotFoundError(
                    f"entrypoint {entrypoint!r} of rank {rank} is not an executable file, nor found as one on PATH"
                )
        super().__init__(
            name,
            entrypoint,
            args,
            envs,
            logs_specs,
            log_line_prefixes,
            duplicate_stdout_filters,
            duplicate_stderr_filters,
        )

    def _make_gang(self) -> Gang:
        environment = dict(os.environ)
        births = [
            Birth(
                rank=rank,
                command=(str(self.entrypoint), *map(str, self.args[rank])),
                env=environment | self.envs[rank],
                stdout=self.stdouts[rank],
                stderr=self.stderrs[rank],
            )
            for rank in range(self.nprocs)
        ]
        return Gang(births, Program, self._note, succeeded=lambda exit_: exit_.exitcode == 0, settle=_SETTLE)

    def _judge(self) -> RunProcsResult:
        failures = {
            rank: self._failure(rank, self._exits[rank].exitcode)
            for rank in sorted(self._exit_order, key=lambda rank: self._exits[rank].collateral)
            if self._exits[rank].exitcode != 0
        }
        values = {} if failures else dict.fromkeys(range(self.nprocs))
        return RunProcsResult(values, failures, self.stdouts, self.stderrs)


def start_processes(
    name: str,
    entrypoint: Callable[..., Any] | str,
    args: dict[int, tuple[Any, ...]],
    envs: dict[int, dict[str, str]],
    logs_specs: LogsSpecs,
    log_line_prefixes: dict[int, str] | None = None,
    start_method: str = "spawn",
    numa_options: None = None,
    duplicate_stdout_filters: list[str] | None = None,
    duplicate_stderr_filters: list[str] | None = None,
) -> PContext:
    """Start one process per entry of `args`, each running a function or a program.

    Parameters
    ----------
    name : str
        What the processes are, in a word; the header of teed lines.
    entrypoint : callable or str
        A function, or the name or path of a program.
    args : dict of int to tuple
        Arguments of each local rank ``0 … nprocs-1``; for a program they are turned into strings.
    envs : dict of int to dict of str to str
        Environment variables of each local rank, on top of the present ones. ``TORCHELASTIC_ERROR_FILE`` is added.
    logs_specs : LogsSpecs
        Which streams go to files (`redirects`) and which of them to the console as well (`tee`).
    log_line_prefixes : dict of int to str, optional
        Headers of teed lines instead of ``[<name><rank>]:``.
    start_method : {"spawn", "fork", "forkserver"}
        How the process of a function is made; of no meaning for a program. ``spawn`` and ``forkserver`` import the
        program's main module in each rank, as `multiprocessing` does; functions that cannot be imported there
        (of a notebook, lambdas, closures) travel by value.
    numa_options : None
        Accepted for the sake of the signature.
    duplicate_stdout_filters, duplicate_stderr_filters : list of str, optional
        Collect the teed lines that contain any of these in a file of their own.

    Returns
    -------
    PContext
        Already started.

    Raises
    ------
    RuntimeError
        If a mapping lacks a rank, or if a rank launches while it imports an unguarded main module.
    TypeError, ValueError, FileNotFoundError, NotADirectoryError
        If something is wrong with an argument; nothing has been started then.
    OSError
        If the system refuses a process; nothing is left running then.

    Examples
    --------
    >>> context = start_processes("adder", max, {0: (1, 2), 1: (4, 3)}, {0: {}, 1: {}}, DefaultLogsSpecs())
    >>> context.wait().return_values
    {0: 2, 1: 4}
    """
    if importing_main():
        raise RuntimeError(
            "start_processes was called while a rank was importing the main module of this program, and would start "
            "ranks without end: put the call under `if __name__ == '__main__':`"
        )
    if not args:
        raise ValueError("args is empty: it needs one entry for each rank, for example {0: ()}")
    _validate_full_rank(args, len(args), "args")
    _validate_full_rank(envs, len(args), "envs")
    more = {
        "logs_specs": logs_specs,
        "log_line_prefixes": log_line_prefixes,
        "numa_options": numa_options,
        "duplicate_stdout_filters": duplicate_stdout_filters,
        "duplicate_stderr_filters": duplicate_stderr_filters,
    }
    context: PContext
    if isinstance(entrypoint, str):
        context = SubprocessContext(name, entrypoint, args, envs, **more)  # type: ignore[arg-type]
    else:
        context = MultiprocessContext(name, entrypoint, args, envs, start_method, **more)  # type: ignore[arg-type]
    context.start()
    return context


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


def _refuse_numa(numa_options: object) -> None:
    if numa_options is not None:
        raise ValueError("numa_options is not supported: start the program under `numactl` instead")


def _main_module() -> tuple[str, str]:
    """Return name or path by which a fresh interpreter can import this program's main module, or two empty strings.

    The same answer as `multiprocessing.spawn.get_preparation_data`, which would settle the default start method of
    the whole program along the way, so that it could not be set any more. What `multiprocessing.spawn.prepare` would
    not import, such as the ``__main__.py`` of a package, does not count: functions in it travel by value.
    """
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None:
        return ("", "") if name == "__main__" or name.endswith(".__main__") else (name, "")
    path = getattr(main, "__file__", None)
    if not path or os.path.splitext(os.path.basename(path))[0] in ("ipython", "__main__"):
        return "", ""
    path = os.path.normpath(os.path.join(multiprocessing.process.ORIGINAL_DIR or "", path))  # type: ignore[attr-defined]
    return "", path if os.path.isfile(path) else ""  # a program that is read from stdin has "<stdin>"
