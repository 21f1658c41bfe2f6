"""`Run`: one launch and what came of it, as the notebook holds it. `nblaunch.runs.recorder` fills it."""

from __future__ import annotations

import asyncio
import contextlib
import html
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from nblaunch.engines.base import Ranks
from nblaunch.exports import exported_by
from nblaunch.flag import Flag
from nblaunch.interrupts import stopping_together
from nblaunch.jupyter.input_box import NoInput, find_box, in_kernel
from nblaunch.logs.run_logs import Logs
from nblaunch.runs.attempt import Attempt, failed_attempts
from nblaunch.runs.failures import RankFailure, RanksFailed
from nblaunch.runs.outcome import first_to_fail
from nblaunch.runs.outputs import Output, Outputs
from nblaunch.runs.questions import Questions
from nblaunch.runs.short_reprs import short_repr
from nblaunch.stacks.folding import Stacks, label_cells
from nblaunch.wording import count_ranks, listed, name_ranks

__all__ = ["Run"]


class _End(Flag):
    """A flag for the end of a run, which also calls callbacks when it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._told: list[Callable[[], None]] = []

    def set(self) -> None:
        """Set the flag, and call the callbacks."""
        super().set()
        for tell in list(self._told):
            tell()

    @contextlib.contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have `tell` called when the flag is set, in any thread, or at once if it is set already."""
        self._told.append(tell)
        try:
            if self.is_set():
                tell()
            yield
        finally:
            self._told.remove(tell)


@exported_by("nblaunch")
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
    attempts : list of Attempt
        Every time that the ranks were started and have ended, with the failures of each. The failures of the last one
        are those of the run.
    refused : str
        Why the ranks could not be started once more after a failure, in words; empty if they could.
    status : str
        ``"running"``, ``"finished"``, ``"failed"``, ``"timed out"``, ``"interrupted"``, ``"stopped"`` or
        ``"not started"``.

    Examples
    --------
    >>> import nblaunch
    >>> run = nblaunch.launch("print('hello'); square = rank ** 2", 2, collect=["square"], quiet=True)
    >>> run.ok, run.collected["square"], run.logs[1].stdout.split()
    (True, {0: 0, 1: 1}, ['hello'])

    One that is not waited for:

    >>> run = nblaunch.launch("import time; time.sleep(600)", 2, wait=False)
    >>> run.stop()
    >>> run.wait(), run.status
    (True, 'stopped')
    """

    def __init__(
        self,
        nprocs: int,
        logs: Logs,
        attempt: Attempt,
        outputs: Outputs,
        collect: Iterable[str] = (),
        cells: Mapping[str, int] = MappingProxyType({}),
        captured: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.nprocs = nprocs
        self.results: dict[int, Any] = {}
        self.failures: dict[int, RankFailure] = {}
        self.collected: dict[str, dict[int, Any]] = {name: {} for name in collect}
        self.captured: dict[str, int] = dict(captured)
        self.logs = logs
        self.attempts: list[Attempt] = []
        self.refused = ""
        self.status = "running"
        # numbers of the notebook's cells by file name, for stacks
        self._cells = cells
        self._began = time.monotonic()
        # The status that the run will have because somebody has ordered its end; empty if nobody has.
        self._requested = ""
        # The recorder of this run changes all that follows.
        self._ranks: Ranks | None = None
        self._questions: Questions | None = None
        self._attempt = attempt
        self._outputs = outputs
        self._ended_at: float | None = None
        self._defect: str | None = None
        self._left = False
        self._done = _End()

    @property
    def ok(self) -> bool:
        """Whether every rank finished."""
        return self.status == "finished"

    @property
    def root_cause(self) -> RankFailure | None:
        """The failure that came first, or None."""
        return first_to_fail(self.failures.values())

    @property
    def stacks_at_failure(self) -> Stacks:
        """Where the ranks that were still at work were when the first one failed, or when the time was over."""
        return self._attempt.stacks_at_failure

    @property
    def elapsed(self) -> float:
        """Seconds from the launch to the end, or to now; time counts in which the program was stopped, as by Ctrl-Z."""
        return (self._ended_at or time.monotonic()) - self._began

    @property
    def pids(self) -> dict[int, int]:
        """Process id of every rank that was started."""
        return dict(self._attempt.pids)

    @property
    def earlier(self) -> list[str]:
        """What the attempts before the last one have failed of, in a line for each kind of failure."""
        return failed_attempts(self.attempts[:-1])

    @property
    def outputs(self) -> dict[int, list[Output]]:
        """What each rank displayed so far."""
        return self._outputs.by_rank

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended; tell whether it has.

        Ctrl-Z in a terminal, while this waits, stops the ranks with the program; ``fg`` or ``bg`` sets them going.

        Parameters
        ----------
        timeout : float, optional
            Longest time in seconds.

        Raises
        ------
        RuntimeError
            If nblaunch itself failed.
        """
        ended = self._done.is_set()
        if not ended:
            with self._stopping_together():
                ended = self._done.wait(timeout)
        if ended and self._ranks is not None and not self._left:
            self._ranks.join()
        if self._defect is not None:
            raise RuntimeError(self.defect)
        return ended

    def _stopping_together(self) -> contextlib.AbstractContextManager[None]:
        ranks = self._ranks
        if ranks is None or in_kernel():
            return contextlib.nullcontext()
        return stopping_together(ranks.hold, ranks.resume)

    @property
    def defect(self) -> str:
        """What failed in nblaunch itself while it watched the ranks, which `wait` raises; else empty."""
        if self._defect is None:
            return ""
        return f"nblaunch failed while it watched the ranks; they were killed:\n{self._defect}"

    def __await__(self) -> Generator[Any, None, Run]:
        # no thread waits for the end, because a task that is cancelled could not end that thread
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(ended.set)

        with self._done.telling(tell):
            yield from ended.wait().__await__()
        # `wait` may still have to tidy up and to show something, while other tasks go on
        yield from loop.run_in_executor(None, self.wait).__await__()
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

    def signal(self, number: int | str, ranks: Iterable[int] | None = None) -> None:
        """Send a signal to ranks; the run goes on, unless they end of it.

        Parameters
        ----------
        number : int or str
            The signal, as in ``signal.SIGUSR1`` or ``"SIGUSR1"``.
        ranks : iterable of int, optional
            The ranks; by default all that still run. Only their own processes get it, not what they have started.

        Raises
        ------
        ValueError
            If there is no such signal or rank.
        """
        chosen = self._chosen(ranks)
        order = _signal_named(number)
        if not self._done.is_set() and self._ranks is not None:
            self._ranks.signal(order, chosen)

    def stacks(self, ranks: Iterable[int] | None = None, native: bool = False) -> Stacks:
        """Return where ranks are now; they are not disturbed. After the run: where they were when the first one failed.

        Parameters
        ----------
        ranks : iterable of int, optional
            The ranks; by default all that still run.
        native : bool
            Include the frames of C code, for which py-spy must be installed; it stops each rank for some milliseconds.

        Raises
        ------
        ValueError
            If there is no such rank.
        TimeoutError
            If the ranks are only just being started.
        FileNotFoundError
            With `native`, if py-spy is not installed.
        """
        chosen = self._chosen(ranks)
        if self._done.is_set() or self._ranks is None:
            return Stacks({rank: s for rank, s in self.stacks_at_failure.items() if chosen is None or rank in chosen})
        return Stacks(label_cells(self._ranks.stacks(chosen, native), self._cells))

    def _chosen(self, ranks: Iterable[int] | None) -> frozenset[int] | None:
        if ranks is None:
            return None
        chosen = frozenset(ranks)
        beyond = [rank for rank in chosen if rank not in range(self.nprocs)]
        if beyond:
            raise ValueError(f"there is no {name_ranks(beyond)}: this run has {name_ranks(range(self.nprocs))}")
        return chosen

    def raise_for_failures(self) -> None:
        """Raise `RanksFailed` if the run has ended and not every rank finished."""
        if self.failures:
            raise RanksFailed(self)

    @property
    def asking(self) -> dict[int, str]:
        """The ranks that wait for an answer, and what they wait with."""
        return {} if self._questions is None else self._questions.asking

    def debug(self, rank: int) -> None:
        """Operate the debugger of a rank that waits at a failure or breakpoint, or answer its `input()`.

        Takes the notebook's input box until the debugger is left. An interrupt leaves the rank where it is.

        Parameters
        ----------
        rank : int
            One of `asking`.

        Raises
        ------
        ValueError
            If this rank does not wait for anybody.
        RuntimeError
            If nobody can be asked here.
        """
        waiting = self.asking
        if self._questions is None or rank not in waiting:
            others = "; ".join(f"rank {other}: {what}" for other, what in sorted(waiting.items()))
            raise ValueError(
                f"rank {rank} does not wait for anybody. "
                + (f"These do: {others}" if others else "No rank of this run does: a rank waits at breakpoint(), ")
                + ("" if others else "at input(), or, with pdb, where it has raised")
            )
        box = find_box()
        if isinstance(box, NoInput):
            raise RuntimeError(f"rank {rank} cannot be debugged from here: {box.why}")
        self._questions.serve(box, rank)

    def _end(self, status: str, order: Callable[[Ranks], None]) -> None:
        if not self._done.is_set() and self._ranks is not None:
            self._requested = self._requested or status
            order(self._ranks)

    def summary(self) -> str:
        """Say in one line what became of the run."""
        ranks = count_ranks(self.nprocs)
        own = sum(not failure.collateral for failure in self.failures.values())
        # of a run that was ended from outside, all ranks without a result count
        which = f"{own or len(self.failures)} of {ranks}" if self.failures else ranks
        parts = [f"{which} {self.status}", f"{self.elapsed:.1f} s"]
        if self.failures and self.results:
            parts.append(f"results of {name_ranks(self.results)}")
        if self.refused:
            parts.append(self.refused)
        if self.root_cause is not None:
            parts.append(f"root cause: rank {self.root_cause.rank}, {self.root_cause.summary()}")
        if self.status == "timed out" and self.earlier:
            parts.append(f"before that, {'; '.join(self.earlier)}")
        return ", ".join(parts)

    def __reduce__(self) -> Any:
        raise TypeError("a Run cannot be sent to ranks: bind what they need of it first, as in data = run.results")

    def __repr__(self) -> str:
        return f"<Run: {self.summary()}>"

    def _repr_html_(self) -> str:
        rows = []
        for rank in range(self.nprocs):
            if rank in self.results:
                state, text = "finished", short_repr(self.results[rank])
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


def _signal_named(number: int | str) -> signal.Signals:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return signal.Signals[number] if isinstance(number, str) else signal.Signals(number)
    if isinstance(number, str) and f"SIG{number.upper()}" in signal.Signals.__members__:
        return signal.Signals[f"SIG{number.upper()}"]
    raise ValueError(f"{number!r} is no signal: name one as in signal.SIGUSR1 or 'SIGUSR1'")
