"""`launch` and `Run`: one launch of a cell or a function, and what came of it. Works without a notebook too.

::

    cell or function ─► capture ─► payload ─► engine ─► ranks
                                                │
    Run.results, failures, collected, logs ◄─ events ─► panel
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import linecache
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
import uuid
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nblaunch import capture as _capture
from nblaunch.engines.base import Engine, Plan, Ranks
from nblaunch.engines.local import LocalEngine
from nblaunch.events import Abandoned, Ended, Event, Exited, Launched, Reported, Started, TimedOut
from nblaunch.failures import (
    RankFailure,
    RanksFailed,
    RankTimeout,
    crash_stack,
    last_lines,
    name_ranks,
    root_cause_of,
    without_crash_dump,
    without_escapes,
)
from nblaunch.panel.text import TextPanel
from nblaunch.payload import ExceptionStandIn, Packed, pack, unpack
from nblaunch.processes.errors.failure import FailureMessage, silent_exit
from nblaunch.processes.start_methods import START_METHODS
from nblaunch.rank.threads import VARIABLES, fair_share
from nblaunch.rank.work import CellSource, Work

__all__ = ["Logs", "Notebook", "RankLogs", "Run", "launch"]

# Names that a rank has of its own.
RANK_NAMES = ("rank", "local_rank", "world_size")
_TAIL_BYTES = 1 << 14


@dataclass(frozen=True)
class Notebook:
    """What a launch needs of the notebook that it comes from.

    Parameters
    ----------
    namespace : dict
        The notebook's variables.
    provided : mapping of str to object
        Variables that a rank's shell has of its own, such as ``get_ipython``: they do not travel.
    number : int
        Number of the cell that launches, as in ``In[5]``.
    transform : callable
        Turns a cell with magics into Python.
    name_cell : callable
        Returns the file name under which a cell is to be compiled, after making its lines known to tracebacks.
    number_of : callable
        Returns the number of the cell that was compiled under a file name, or None.
    compiler_flags : int
        ``from __future__`` imports in force.
    """

    namespace: dict[str, Any]
    provided: Mapping[str, object] = field(default_factory=dict)
    number: int = 0
    transform: Callable[[str], str] = _capture.transform
    name_cell: Callable[[str], str] = lambda _: "<cell>"
    number_of: Callable[[str], int | None] = lambda _: None
    compiler_flags: int = 0


class RankLogs:
    """Log files of one rank.

    Attributes
    ----------
    path : str
        Folder of the rank's files.
    """

    def __init__(self, stdout: str, stderr: str) -> None:
        self.path = os.path.dirname(stdout)
        self._stdout = stdout
        self._stderr = stderr

    @property
    def stdout(self) -> str:
        """All that the rank has written to its standard output so far."""
        return _read(self._stdout)

    @property
    def stderr(self) -> str:
        """All that the rank has written to its standard error so far."""
        return _read(self._stderr)

    def ends(self) -> tuple[str, str]:
        """Return the last few kilobytes of both."""
        return _read(self._stdout, _TAIL_BYTES), _read(self._stderr, _TAIL_BYTES)

    def __repr__(self) -> str:
        return f"RankLogs({self.path!r})"


class Logs(Mapping[int, RankLogs]):
    """Log files of a run by rank.

    A temporary folder goes when nothing refers to the run or to one of its failures any more.

    Attributes
    ----------
    path : str
        Folder that holds a folder for each rank.
    """

    def __init__(self, log_dir: str | None) -> None:
        self.path = ""
        self._ranks: dict[int, RankLogs] = {}
        if log_dir is None:
            self.root = tempfile.mkdtemp(prefix="nblaunch_")
            self._finalizer = weakref.finalize(self, _remove, self.root, os.getpid())
        else:
            self.root = os.path.abspath(log_dir)

    def found(self, launched: Launched) -> None:
        """Take note of where the files are."""
        self.path = launched.log_dir
        self._ranks = {
            rank: RankLogs(launched.stdouts[rank], launched.stderrs[rank]) for rank in range(launched.nprocs)
        }

    def __getitem__(self, rank: int) -> RankLogs:
        return self._ranks[rank]

    def __iter__(self) -> Iterator[int]:
        return iter(self._ranks)

    def __len__(self) -> int:
        return len(self._ranks)

    def __repr__(self) -> str:
        return f"Logs({self.path!r})"


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
    logs : Logs
        ``run.logs[rank].stdout``, ``.stderr``, ``.path``.
    status : str
        ``"running"``, ``"finished"``, ``"failed"``, ``"timed out"``, ``"interrupted"`` or ``"stopped"``.
    """

    def __init__(self, nprocs: int, logs: Logs, collect: Iterable[str] = ()) -> None:
        self.nprocs = nprocs
        self.results: dict[int, Any] = {}
        self.failures: dict[int, RankFailure] = {}
        self.collected: dict[str, dict[int, Any]] = {name: {} for name in collect}
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
        self._cells: dict[str, int] = {}
        # what was sent must live until instances of its classes have come back
        self._sent: Any = None

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

    def _note(self, event: Event) -> None:
        if isinstance(event, Launched):
            self.logs.found(event)
        elif isinstance(event, Started):
            self._pids[event.rank] = event.pid
        elif isinstance(event, Reported):
            self._reports[event.rank] = event
        elif isinstance(event, Exited):
            self._exits[event.rank] = event
        elif isinstance(event, TimedOut):
            self._timed_out = event
        elif isinstance(event, Abandoned):
            self._abandoned.add(event.rank)
        elif isinstance(event, Ended):
            self._conclude(event)

    def _conclude(self, ended: Ended) -> None:
        self._ended_at = ended.at
        self._defect = ended.defect
        try:
            for rank in sorted(self._exits):
                report = self._reports.pop(rank, None)
                if report is not None and report.kind == "value":
                    self._take_value(rank, report)
                else:
                    self.failures[rank] = self._failure(rank, report)
            self.status = self._final_status()
        except Exception:
            self._defect = traceback.format_exc()
            self.status = "failed"
        finally:
            self._sent = None
            self._done.set()

    def _take_value(self, rank: int, report: Reported) -> None:
        try:
            body = unpack(report.body)
        except Exception as error:
            failure = self._bare_failure(rank, at=report.at)
            failure.exception = error
            failure.message = FailureMessage(
                f"the value of rank {rank} arrived but cannot be rebuilt in the notebook: "
                f"{type(error).__name__}: {error}"
            )
            self.failures[rank] = failure
            return
        self.results[rank] = body["value"]
        for name, value in body["collected"].items():
            self.collected[name][rank] = value

    def _failure(self, rank: int, report: Reported | None) -> RankFailure:
        exited = self._exits[rank]
        failure = self._bare_failure(rank, at=exited.at if report is None else report.at)
        failure.collateral = exited.collateral
        if report is not None:
            body = unpack(report.body)
            failure.coloured = body["traceback"]
            failure.traceback = without_escapes(body["traceback"])
            try:
                failure.exception = unpack(body["exception"])
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                failure.exception = ExceptionStandIn(body["type"], body["text"], why)
        elif self._timed_out is not None and rank in self._timed_out.ranks:
            failure.collateral = False
            text = f"rank {rank} was still running after the timeout of {self._timed_out.seconds:g} s"
            failure.exception, failure.message = RankTimeout(text), FailureMessage(f"RankTimeout: {text}")
        elif rank in self._abandoned:
            failure.message = FailureMessage(
                f"rank {rank} (pid {failure.pid}) hangs in the kernel and did not even go when killed"
            )
        elif exited.exitcode == 0:
            failure.message = silent_exit(rank, failure.pid)
        elif exited.exitcode > 0:
            failure.message = FailureMessage(f"rank {rank} (pid {failure.pid}) exited with code {exited.exitcode}")
        return failure

    def _bare_failure(self, rank: int, at: float) -> RankFailure:
        stdout, stderr = self.logs[rank].ends()
        return RankFailure(
            local_rank=rank,
            pid=self._pids[rank],
            exitcode=self._exits[rank].exitcode,
            error_file=os.path.join(self.logs[rank].path, "error.json"),
            rank=rank,
            traceback=crash_stack(stderr, self._cells),
            stdout_tail=last_lines(stdout),
            # the dump of a crash is in the traceback, in a form that can be read
            stderr_tail=last_lines(without_crash_dump(stderr)),
            at=at,
            _keeps=self.logs,
        )

    def _final_status(self) -> str:
        if not self.failures:
            return "finished"
        if self._requested:
            return self._requested
        return "timed out" if self._timed_out is not None else "failed"

    # ---- how it reads

    def summary(self) -> str:
        """Say in one line what became of the run."""
        parts = [
            f"{self.nprocs} rank{'s' if self.nprocs != 1 else ''} {self.status}",
            f"{self.elapsed:.1f} s",
        ]
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
        return (
            f"<p>{html.escape(self.summary())}</p><table><thead><tr><th>rank</th><th>state</th>"
            f"<th>value or failure</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
            f"<p>logs: <code>{html.escape(self.logs.path)}</code></p>"
        )


def launch(
    fn_or_source: Callable[..., Any] | str,
    nprocs: int,
    *,
    args: tuple[Any, ...] = (),
    capture: Iterable[str] = (),
    no_capture: bool = False,
    collect: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    grace: float = 5.0,
    on_failure: str = "stop",
    start_method: str = "forkserver",
    log_dir: str | None = None,
    seed: int | None = None,
    threads: int | None = None,
    check: bool = False,
    wait: bool = True,
    quiet: bool = False,
    on_end: Callable[[Run], None] | None = None,
    notebook: Notebook | None = None,
    engine: Engine | None = None,
) -> Run:
    """Run a function, or the source of a cell, on several processes of this machine.

    Parameters
    ----------
    fn_or_source : callable or str
        A function, called as ``fn(*args)`` in each rank, which finds its number in ``os.environ["RANK"]`` or in the
        global ``rank``; or source text, run as a cell with ``rank``, ``local_rank`` and ``world_size`` in its
        namespace, whose last expression is the rank's value.
    nprocs : int
        Number of ranks.
    args : tuple
        Arguments of the function.
    capture : iterable of str
        Variables to take along although the source does not mention them.
    no_capture : bool
        Take along nothing but `capture`.
    collect : iterable of str
        Variables of each rank to bring back in ``run.collected``.
    env : mapping of str to str, optional
        Environment variables for the ranks.
    timeout : float, optional
        Seconds after which the ranks are ended.
    grace : float
        Seconds between one signal and the next stronger one when ranks are ended.
    on_failure : {"stop", "continue"}
        Whether the first failure ends the other ranks.
    start_method : {"forkserver", "spawn", "fork"}
        How processes are made.
    log_dir : str, optional
        Folder for the logs, which is kept; by default a temporary one, kept as long as the `Run`.
    seed : int, optional
        Makes each rank's random state reproducible; otherwise each has fresh entropy.
    threads : int, optional
        Threads of numerical libraries per rank; by default the cores divided by the ranks, at least 1.
    check : bool
        Raise `RanksFailed` if a rank fails.
    wait : bool
        Return when the run has ended; otherwise at once, for ``run.wait()`` or ``await run``.
    quiet : bool
        Do not show what the ranks write.
    on_end : callable, optional
        Called with the run when it has ended, before anything is raised; only with `wait`.
    notebook : Notebook, optional
        Where variables come from; by default the main module.
    engine : Engine, optional
        Where the ranks live; by default this machine.

    Returns
    -------
    Run
        With results and failures as objects.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; nothing has been started then.
    SyntaxError
        If the source is not Python.
    nblaunch.capture.CaptureError
        If something that is needed cannot be sent; nothing has been started then.
    OSError
        If the system refuses processes; nothing is left running then.
    RanksFailed
        With `check`, if a rank failed.
    KeyboardInterrupt
        If interrupted while waiting; the ranks have been ended then.
    """
    _validate(fn_or_source, nprocs, timeout, grace, on_failure, start_method, threads, log_dir)
    notebook = notebook or Notebook(sys.modules["__main__"].__dict__)
    collect = tuple(collect)
    work, payload, sent = _make_payload(
        fn_or_source, nprocs, args, tuple(capture), no_capture, collect, seed, threads, notebook
    )
    logs = Logs(log_dir)
    run = Run(nprocs, logs, collect)
    run._sent = sent
    run._cells = {name: source.number for name, source in work.sources.items()}
    run._cells[work.filename] = work.number
    panel = None if quiet else TextPanel()
    is_cell = isinstance(fn_or_source, str)
    plan = Plan(
        run_id=f"run_{uuid.uuid4().hex[:8]}",
        nprocs=nprocs,
        entry="nblaunch.rank.main:run",
        prepare="nblaunch.rank.main:prepare" if is_cell else "nblaunch.rank.main",
        payload=payload,
        env=dict.fromkeys(VARIABLES, str(threads or fair_share(nprocs))) | dict(env or {}),
        start_method=start_method,
        log_dir=logs.root,
        stop_on_failure=on_failure == "stop",
        grace=grace,
        timeout=timeout,
    )

    def consume(event: Event) -> None:
        run._note(event)
        if panel is not None:
            panel.note(event)

    try:
        run._ranks = (engine or LocalEngine()).launch(plan, consume)
        if not wait:
            return run
        try:
            _wait(run)
        finally:
            if on_end is not None and run.status != "running":
                on_end(run)
    finally:
        if panel is not None and (wait or run._ranks is None):
            panel.close()
    if check:
        run.raise_for_failures()
    return run


def _wait(run: Run) -> None:
    """Wait for a run; the first interrupt interrupts the ranks, the second kills them."""
    interrupts = acted_on = 0
    while True:
        try:
            # in here too, because the second interrupt may come while the first is being passed on
            if acted_on < interrupts:
                acted_on = interrupts
                (run.interrupt if interrupts == 1 else run.kill)()
            run.wait()
            break
        except KeyboardInterrupt:
            interrupts += 1
    if interrupts:
        raise KeyboardInterrupt


def _validate(
    fn_or_source: object,
    nprocs: object,
    timeout: float | None,
    grace: float,
    on_failure: str,
    start_method: str,
    threads: int | None,
    log_dir: str | None,
) -> None:
    if not isinstance(fn_or_source, str) and not callable(fn_or_source):
        raise TypeError(f"launch takes a function or the source of a cell as str, not a {type(fn_or_source).__name__}")
    if isinstance(fn_or_source, str) and not fn_or_source.strip():
        raise ValueError("the cell is empty: there is nothing to run on the ranks")
    if not isinstance(nprocs, int) or isinstance(nprocs, bool) or nprocs < 1:
        raise ValueError(f"nprocs is the number of ranks, a whole number of at least 1, not {nprocs!r}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
    if not grace >= 0:
        raise ValueError(f"grace is a number of seconds, 0 or more, not {grace!r}")
    if on_failure not in ("stop", "continue"):
        raise ValueError(f"on_failure is 'stop' or 'continue', not {on_failure!r}")
    if start_method not in START_METHODS:
        raise ValueError(f"unknown start method {start_method!r}: choose one of {', '.join(START_METHODS)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is a number of threads per rank, at least 1, not {threads!r}")
    if log_dir is not None and os.path.exists(log_dir) and not os.path.isdir(log_dir):
        raise NotADirectoryError(f"log_dir {log_dir!r} is a file: name a folder, which may be a new one")


def _make_payload(
    fn_or_source: Callable[..., Any] | str,
    nprocs: int,
    args: tuple[Any, ...],
    capture: tuple[str, ...],
    no_capture: bool,
    collect: tuple[str, ...],
    seed: int | None,
    threads: int | None,
    notebook: Notebook,
) -> tuple[Work, tuple[Packed, ...], Any]:
    """Return what the ranks shall do, that and the objects that they need as bytes, and these objects themselves."""
    details: dict[str, Any] = {}
    travelling: Any
    if isinstance(fn_or_source, str):
        if args:
            raise ValueError("args are for a function; a cell takes its variables from the notebook")
        transformed = notebook.transform(fn_or_source)
        flags = notebook.compiler_flags
        filename = notebook.name_cell(transformed)
        lines = _names(transformed, filename, flags)
        travelling = _select({} if no_capture else lines, capture, notebook)
        details = {"cell": fn_or_source, "filename": filename, "compiler_flags": flags}
        suspects = travelling
    else:
        travelling = (fn_or_source, tuple(args))
        lines = {}
        suspects = {getattr(fn_or_source, "__name__", "the function"): fn_or_source}
        suspects |= {f"args[{i}]": argument for i, argument in enumerate(args)}
    packed = _pack_or_explain(travelling, suspects, lines, notebook)
    work = Work(
        nprocs=nprocs,
        number=notebook.number,
        sources=_sources(packed.filenames, notebook),
        collect=collect,
        seed=seed,
        threads=threads or fair_share(nprocs),
        **details,
    )
    return work, (pack(work), packed), travelling


def _names(transformed: str, filename: str, flags: int) -> dict[str, int]:
    import __future__

    future = bool(flags & __future__.annotations.compiler_flag)
    return _capture.names_read(transformed, filename=filename, future_annotations=future)


def _select(lines: Mapping[str, int], capture: tuple[str, ...], notebook: Notebook) -> dict[str, Any]:
    namespace = notebook.namespace
    missing = [name for name in capture if name not in namespace]
    if missing:
        raise NameError(
            f"--capture names {', '.join(map(repr, missing))}, which the notebook does not define: "
            "define it first or leave it out"
        )
    needed = [
        name
        for name in lines
        if name in namespace
        and name not in RANK_NAMES
        and not (name in notebook.provided and namespace[name] is notebook.provided[name])
    ]
    return {name: namespace[name] for name in (*needed, *capture)}


def _pack_or_explain(
    travelling: Any, suspects: Mapping[str, Any], lines: Mapping[str, int], notebook: Notebook
) -> Packed:
    def attempt(thing: Any) -> Packed:
        return pack(thing, shared_globals=notebook.namespace, provided=notebook.provided)

    def why(thing: Any) -> BaseException | None:
        try:
            attempt(thing)
        except Exception as error:
            return error
        return None

    try:
        return attempt(travelling)
    except Exception as error:
        raise _capture.explain(suspects, lines, why) from error


def _sources(filenames: Iterable[str], notebook: Notebook) -> dict[str, CellSource]:
    sources = {}
    for name in filenames:
        number = notebook.number_of(name)
        lines = linecache.getlines(name) if number is not None else []
        if number is not None and lines:
            sources[name] = CellSource(number, tuple(lines))
    return sources


def _read(path: str, last: int | None = None) -> str:
    try:
        with open(path, "rb") as file:
            if last is not None:
                with contextlib.suppress(OSError):
                    file.seek(-last, os.SEEK_END)
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""  # the rank never came to write it


def _remove(root: str, owner: int) -> None:
    # a process that was forked from the notebook must not tidy up for it
    if os.getpid() == owner:
        shutil.rmtree(root, ignore_errors=True)


def _short(value: object, width: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"
