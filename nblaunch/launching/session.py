"""`launch`: run a cell or a function on several processes. Works without a notebook too.

::

    cell or function, Options ─► Prepared ─► Session ─► engine ─► ranks
                                               │                    │
                                       Run ◄───┼────── events ◄─────┘
                              Presentation ◄───┘
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from nblaunch.engines.base import Engine
from nblaunch.engines.local import LocalEngine
from nblaunch.engines.restarts import prepare_with_restarts
from nblaunch.events import AllExited, Answered, Captured, Ended, Event, StacksTaken
from nblaunch.exports import exported_by
from nblaunch.interrupts import MAX_WAIT_SLICE, lost_interrupts_repeated, stopping_together
from nblaunch.jupyter.input_box import NoInput, in_kernel, in_terminal, tell
from nblaunch.launching.elsewhere import remember_bound
from nblaunch.launching.option_table import MAX_LOG
from nblaunch.launching.options import Options
from nblaunch.launching.prepare import Prepared, prepare
from nblaunch.launching.presenting import Presentation, untold
from nblaunch.launching.source import Notebook
from nblaunch.logs.run_logs import Logs
from nblaunch.panel.outputs import Publish
from nblaunch.runs.questions import Questions
from nblaunch.runs.recorder import Recorder
from nblaunch.runs.registry import remember
from nblaunch.runs.run import Run
from nblaunch.stacks.folding import label_cells

__all__ = ["Session", "launch"]

# Seconds within which a run ends without anybody watching it: starting a thread for that takes its time.
_AT_ONCE = 0.05
# Seconds within which interrupted ranks end without a word about how to kill them.
_PATIENT = 0.5
# Seconds between two looks at what the ranks use.
_SAMPLES = 1.0


@exported_by("nblaunch")
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
    stall: float = 60.0,
    straggler: float = 60.0,
    max_restarts: int = 0,
    start_method: str = "zygote",
    log_dir: str | None = None,
    max_log: int | str = MAX_LOG,
    seed: int | None = None,
    threads: int | None = None,
    show_locals: bool = False,
    quiet: bool = False,
    panel: str | None = None,
    show_ranks: Iterable[int] | None = None,
    size_notice: float = 1e9,
    pdb: bool = False,
    hold: float = 600.0,
    settings: bool = True,
    check: bool = False,
    wait: bool = True,
    notebook: Notebook | None = None,
    engine: Engine | None = None,
) -> Run:
    """Run a function, or the source of a cell, on several processes of this machine.

    Parameters
    ----------
    fn_or_source : callable or str
        A function, called as ``fn(*args)`` in each rank, which finds its number in ``os.environ["RANK"]``; or source
        text, run as a cell with ``rank``, ``local_rank`` and ``world_size`` in its namespace, whose last expression
        is the rank's value. A function of the notebook or of the main module finds these names among its globals too.
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
        Environment variables for the ranks, on top of the present environment.
    timeout : float, optional
        Seconds after which the ranks are ended.
    grace : float
        Seconds between one signal and the next stronger one when ranks are ended.
    on_failure : {"stop", "continue"}
        Whether the first failure ends the other ranks.
    stall : float
        Seconds after which it is told which ranks have neither computed nor written, and where they are; 0 is never.
        It ends nothing.
    straggler : float
        Seconds after which it is told which ranks are still at work although others have finished; 0 is never.
    max_restarts : int
        How often all ranks are started again after a failure, with another port, ``TORCHELASTIC_RESTART_COUNT`` set and
        logs of their own; ``run.attempts`` has what each attempt failed of.
    start_method : {"zygote", "forkserver", "spawn", "fork"}
        How processes are made: forked from a process that stays and holds the heavy libraries, forked from one that is
        made for this launch, as fresh interpreters, or forked from this very process.
    log_dir : str, optional
        Folder for the logs, which is kept; by default a temporary one, kept as long as the `Run`.
    max_log : int or str
        How long the log of one stream of a rank may become, in bytes or as in ``"500M"`` or ``"2G"``. Of what is longer
        the oldest part is released while the ranks run, so that logs cannot fill the disk. 0 is no limit.
    seed : int, optional
        Makes each rank's random state reproducible; otherwise each has fresh entropy.
    threads : int, optional
        Threads of numerical libraries per rank. By default what variables such as ``OMP_NUM_THREADS`` say, or, where
        they are not set, the cores divided by the ranks, at least 1.
    show_locals : bool
        Show the local variables of each frame in tracebacks.
    quiet : bool
        Show nothing unless ranks fail.
    panel : {"live", "text", "none"}, optional
        How the run is shown: under the notebook's cell, live, with a record that stays; as plain lines, which is what
        a terminal gets in any case; or not at all. By default what the environment variable ``NBLAUNCH_PANEL`` says,
        or live.
    show_ranks : iterable of int, optional
        Ranks whose displays (``display(x)``, figures) are shown; by default all. ``run.outputs`` has those of every
        rank.
    size_notice : float
        Bytes sent to the ranks from which on a notice names the largest objects; 0 is never.
    pdb : bool
        Have a rank that raises wait at the frame, and open a debugger there, before its failure is reported and the
        others are ended. With ``wait=False``, `Run.debug` opens it.
    hold : float
        Seconds that such a rank waits for the next command; then its failure is reported.
    settings : bool
        Whether settings of libraries that this process has changed, such as torch's default type, are made in the ranks
        too; ``%multiproc doctor`` shows them.
    check : bool
        Raise `RanksFailed` if a rank fails.
    wait : bool
        Return when the run has ended; otherwise at once, for ``run.wait()`` or ``await run``.
    notebook : Notebook, optional
        Where variables come from; by default the notebook that runs here, or the main module.
    engine : Engine, optional
        Where the ranks live; by default this machine.

    Returns
    -------
    Run
        With results and failures as objects.

    Raises
    ------
    ValueError, TypeError, NameError, NotADirectoryError
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

    Examples
    --------
    >>> import nblaunch
    >>> nblaunch.launch("rank * 10", 2).results
    {0: 0, 1: 10}

    A function, and what becomes of a rank that fails:

    >>> def share(total):
    ...     return total / rank
    >>> run = nblaunch.launch(share, 2, args=(6,), on_failure="continue")
    >>> run.results, run.failures[0].exception
    ({1: 6.0}, ZeroDivisionError('division by zero'))
    """
    options = Options.of(locals())
    notebook = notebook or Notebook.here(sys._getframe(1).f_globals)
    # what was prepared is not kept here: it holds what was packed, and this waits for the run
    session = Session(prepare(fn_or_source, nprocs, options, notebook), engine or LocalEngine())
    if not wait:
        session.start_and_leave()
        return session.run
    session.start_and_wait()
    if check:
        session.run.raise_for_failures()
    return session.run


class Session:
    """One run of what was prepared: starts it once, hands its events on, waits for its end, interrupts it.

    Parameters
    ----------
    prepared : Prepared
        What is to run; the session does not keep it.
    engine : Engine
        Where the ranks will live.
    bound, raises, publish
        See `nblaunch.launching.presenting.Presentation`.

    Attributes
    ----------
    run : Run
        What will come of it.

    Raises
    ------
    ValueError, OSError
        If the folder of the logs cannot be made, or the engine cannot run this; nothing has been started then.
    """

    def __init__(
        self, prepared: Prepared, engine: Engine, bound: str = "", raises: bool = False, publish: Publish | None = None
    ) -> None:
        self._title = prepared.title
        self._notices = prepared.notices
        self._box = prepared.box
        self._cells = prepared.cells
        work = prepared.work
        self._bound_in_ranks = work.elsewhere.bound, work.number, work.cell or ""
        options = prepared.options
        logs = Logs(options.log_dir)
        self._recorder = Recorder(work.nprocs, logs, options.collect, self._cells, prepared.sent, prepared.captured)
        self.run: Run = self._recorder.run
        plan = prepared.plan(f"run_{uuid.uuid4().hex[:16]}", logs.root)
        # first: if this is refused, nothing holds the run, and the folder of its logs goes at once
        self._ranks = prepare_with_restarts(engine, plan, self._consume)
        self._presentation = Presentation(self.run, prepared, self._ranks.logs, bound, raises, publish)
        self._questions = Questions(
            self._answer, self.run.stop, failure_stops=plan.stop_on_failure, restarts=plan.max_restarts > 0
        )
        self._recorder.belongs_to(self._ranks, self._questions)

    def start(self) -> None:
        """Start the ranks.

        Raises
        ------
        OSError
            If the system refuses processes; nothing is left running then.
        KeyboardInterrupt
            If interrupted meanwhile; nothing is left running then either.
        """
        try:
            remember(self.run)
            self.run.logs.begin(self._title)
            self._consume(Captured(self.run.captured, time.monotonic(), untold(self._notices)))
            remember_bound(*self._bound_in_ranks)
            self._ranks.start()
        except BaseException as error:
            self._ranks.kill()
            self._insist_on_end()
            # not an error: somebody has ended the run meanwhile, from another thread
            ordered = self._recorder.ordered if isinstance(error, InterruptedError) else ""
            self._recorder.give_up(
                ordered or ("interrupted" if isinstance(error, KeyboardInterrupt) else "not started")
            )
            self._presentation.close()
            if not ordered:
                raise

    def _insist_on_end(self) -> None:
        """Wait until no rank is left, whatever interrupts come, unless code of the user's is what is waited for."""
        while True:
            try:
                # not for ever at once, as in `Run.wait`
                while not self._ranks.join(MAX_WAIT_SLICE):
                    continue
                return
            except KeyboardInterrupt:
                if self._recorder.leave():
                    return

    def start_and_wait(self) -> None:
        """Start the ranks and wait for their end.

        The first interrupt interrupts the ranks, the second kills them, or leaves if none is left but what they have
        sent does not get rebuilt. Ctrl-Z in a terminal stops the ranks with this program.

        Raises
        ------
        OSError
            See `start`.
        KeyboardInterrupt
            If interrupted; no rank is left then, and the run holds what there is.
        """
        together = nullcontext() if in_kernel() else stopping_together(self._hold, self._go_on)
        with lost_interrupts_repeated(), together:
            self._start_and_wait()

    def start_and_leave(self) -> None:
        """Start the ranks and return: nobody waits for the run, so it is printed what ranks ask and what it fails of.

        Raises
        ------
        OSError, KeyboardInterrupt
            See `start`.
        """
        self._questions.announce = tell
        self._presentation.detach()
        self.start()
        self.follow(at_once=True)

    def _hold(self) -> None:
        self._ranks.hold()
        self._presentation.hold()

    def _go_on(self) -> None:
        self._ranks.resume()
        self._presentation.go_on()

    def _start_and_wait(self) -> None:
        interrupts = acted_on = 0
        started = False
        while True:
            try:
                if not started:
                    started = True
                    self.start()
                # in here too, because the second interrupt may come while the first is being passed on
                if acted_on < interrupts:
                    acted_on = interrupts
                    self._questions.close()
                    (self.run.interrupt if interrupts == 1 else self.run.kill)()
                    if interrupts > 1:
                        self._recorder.leave()
                    elif in_terminal() and not self.run.wait(_PATIENT):
                        self._presentation.say("The ranks are asked to end. Press Ctrl-C again to kill them.")
                    if self._ranks.join(0) and not self.run.wait(0):
                        # interrupted before any rank was started: nobody else will tell of an end
                        self._recorder.give_up("interrupted")
                if not self.run.wait(_AT_ONCE):
                    self.follow()
                    if not isinstance(self._box, NoInput):
                        self._questions.serve(self._box)
                    self.run.wait()
                self._presentation.close()
                break
            except KeyboardInterrupt:
                interrupts += 1
            except RuntimeError:  # a defect of nblaunch itself
                self._presentation.close()
                raise
        if interrupts:
            raise KeyboardInterrupt

    @property
    def leaves_record(self) -> bool:
        """Whether a record stays below the cell, which tells of failures."""
        return self._presentation.leaves_record

    def binds_no_longer(self) -> None:
        """Take note that the variables which were to hold what comes back are another run's by now."""
        self._presentation.binds_no_longer()

    def follow(self, at_once: bool = False) -> None:
        """Show what the ranks do while they do it; `at_once`, even if they may have ended in a moment."""
        self._presentation.follow(at_once)
        if self._presentation.shows_usage:
            self._ranks.sample(_SAMPLES)

    def _consume(self, event: Event) -> None:
        if isinstance(event, StacksTaken):
            event = replace(event, stacks=label_cells(event.stacks, self._cells))
        self._recorder.note(event)
        if isinstance(event, (AllExited, Ended)):
            for refused in self._recorder.refused_late():
                self._presentation.note(refused)
        self._presentation.note(event)
        # last, because another thread may answer at once, and nothing is answered before it is shown to be asked
        self._questions.note(event)

    def _answer(self, rank: int, number: int, body: bytes) -> None:
        self._ranks.answer(rank, number, body)
        self._presentation.note(Answered(rank, number, time.monotonic()))
