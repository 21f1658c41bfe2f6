"""`Recorder`: takes the events of a launch, and fills the `Run` that the notebook holds.

::

    events ─► Recorder ─┬─► RunOutcome: what has become of each rank, and which failed first
                        ├─► AttemptRecorder, one for each start of the ranks: values and failures
                        └─► Run: results, failures, outputs, status
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
import weakref
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from nblaunch.engines.base import Ranks
from nblaunch.events import AllExited, Ended, Event, Launched, Refused, Restarting
from nblaunch.logs.run_logs import Logs
from nblaunch.messages.work import VALUE
from nblaunch.runs.attempt import Attempt
from nblaunch.runs.attempt_recorder import AttemptRecorder
from nblaunch.runs.outcome import RunOutcome
from nblaunch.runs.questions import Questions
from nblaunch.runs.run import Run

__all__ = ["Recorder"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds that one value may take to be rebuilt after the run was interrupted twice.
_IMPATIENT_SECONDS = 1.0


class Recorder:
    """Takes the events of a launch, and fills its run.

    Parameters
    ----------
    nprocs, logs, captured
        See `Run`.
    collect : iterable of str
        Names of the variables that come back beside each rank's value.
    cells : mapping of str to int
        Numbers of the notebook's cells by the names of the files that they were compiled under.
    sent : object
        What was sent to the ranks; kept until the run has ended, because values may be instances of its classes.

    Attributes
    ----------
    run : Run
        What the notebook holds.
    """

    def __init__(
        self,
        nprocs: int,
        logs: Logs,
        collect: Iterable[str] = (),
        cells: Mapping[str, int] = MappingProxyType({}),
        sent: object = None,
        captured: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._collect = tuple(collect)
        self._cells = cells
        self._sent = sent
        self._outcome = RunOutcome(nprocs)
        self._last = self._new_attempt(0, logs)
        # the attempt before, which counts if the ranks cannot be started again
        self._before: AttemptRecorder | None = None
        self.run: Run = Run(nprocs, logs, self._last.attempt, self._last.outputs, collect, cells, captured)
        # Whether values and failures are being put together, and whether `leave` was called before that. Guarded by
        # the lock, because `leave` is called in another thread.
        self._concluding = self._impatient = False
        self._conclusion = threading.Lock()

    @property
    def ordered(self) -> str:
        """The status that the run will have because somebody has ordered its end; empty if nobody has."""
        return self.run._requested

    def belongs_to(self, ranks: Ranks, questions: Questions | None = None) -> None:
        """Give the run its ranks, and the questions that these will ask."""
        self.run._ranks = ranks
        self.run._questions = questions

    # ---- events, in the supervisor thread

    def note(self, event: Event) -> None:
        """Take an event; they come in order, from the thread that watches the ranks."""
        if isinstance(event, Ended):
            if not self.run._done.is_set():
                self._conclude(event)
            self._sent = None
        elif self.run._left:
            return
        elif isinstance(event, AllExited):
            self._rebuild_before_restart()
        elif isinstance(event, Restarting):
            self._restart(event)
        else:
            self._outcome.note(event)
            self._last.note(event)
            if isinstance(event, Launched):
                self._find_logs(event)
                self._last.attempt.logs = dict(self.run.logs)
            if not self._outcome.before:
                # all ranks are at work again, so the attempt before cannot count any more
                self._drop_before()

    def refused_late(self) -> list[Refused]:
        """Return, once each, the refusals of values that were found when no rank was left."""
        return [] if self.run._left else self._last.refused_late()

    # ---- the end

    def give_up(self, status: str) -> None:
        """Conclude a run that could not be started, once no rank is left."""
        if not self.run._done.is_set():
            self._conclude(Ended(time.monotonic()))
        self.run.status = status

    def leave(self) -> bool:
        """Conclude a run now, although values are still being rebuilt, because the user's code hangs in that.

        Ranks without a value or failure count as failed. While ranks are still running, this only notes that, once
        they have ended, no value may take longer than a second.

        Returns
        -------
        bool
            Whether the run has been concluded by this call.
        """
        run = self.run
        with self._conclusion:
            if run._done.is_set():
                return False
            if not self._concluding:
                self._impatient = True
                return False
            run._left = True
            if self._last.attempt not in run.attempts:
                run.attempts.append(self._last.attempt)
            self._last.give_up()
            self._fill()
            run.status = "interrupted"
            run._done.set()
            return True

    def _conclude(self, ended: Ended) -> None:
        run = self.run
        run._ended_at = ended.at
        run.logs.end()
        run._defect = ended.defect
        self._begin_to_conclude()
        try:
            if ended.refused and run.attempts:
                run.refused = f"restart {len(run.attempts)} was not possible: {ended.refused}"
            self._outcome.note(ended)
            if self._outcome.rolled_back and self._before is not None:
                # the run has failed as the attempt before has
                self._last.drop()
                self._show(self._before)
            else:
                run.attempts.append(self._last.attempt)
                self._last.conclude()
            self._rebuild_values()
        except KeyboardInterrupt:
            # a person has interrupted; what a user's object raises is caught where it is rebuilt
            self.leave()
        except BaseException:
            # SystemExit too: whatever happens, those who wait for the run are told of its end
            if not run._left:
                run._defect = traceback.format_exc()
        finally:
            with self._conclusion:
                if not run._left:
                    self._fill()
                    run.status = self._final_status()
                self._last.drop()
                self._drop_before()
                self._sent = None
                run._done.set()

    def _fill(self) -> None:
        run = self.run
        for rank, body in self._last.values.items():
            run.results[rank] = body[VALUE]
            for name, of_ranks in run.collected.items():
                of_ranks[rank] = body[name]
        run.failures.update(self._last.attempt.failures)

    def _final_status(self) -> str:
        run = self.run
        if run._defect is not None:
            return "failed"
        if not run.failures:
            return "finished"
        return self.ordered or ("timed out" if self._outcome.timed_out else "failed")

    def _begin_to_conclude(self) -> None:
        with self._conclusion:  # so that `leave`, in another thread, comes either before or after
            self._concluding = True

    def _rebuild_values(self) -> None:
        if not self._last.rebuild_values(_IMPATIENT_SECONDS if self._impatient else None):
            self.leave()

    def _find_logs(self, launched: Launched) -> None:
        if self.run._ranks is not None:
            self.run.logs.found(self.run._ranks.logs(launched.attempt))

    # ---- a restart

    def _new_attempt(self, number: int, logs: Logs) -> AttemptRecorder:
        # a weak reference, so that a run that nobody holds any more is freed at once, with its logs
        own = weakref.WeakMethod(self._refuse)

        def refuse(rank: int, why: str, sent_at: float) -> None:
            method = own()
            if method is not None:
                method(rank, why, sent_at)

        return AttemptRecorder(Attempt(number), self._outcome, logs, self._cells, self._collect, refuse)

    def _refuse(self, rank: int, why: str, sent_at: float) -> None:
        if self.run._ranks is not None:
            self.run._ranks.refuse(rank, why, sent_at)

    def _rebuild_before_restart(self) -> None:
        """Rebuild every value before a restart is decided about: a value that is refused makes the rank fail."""
        self._begin_to_conclude()
        self._rebuild_values()
        with self._conclusion:
            self._concluding = False

    def _restart(self, event: Restarting) -> None:
        run, last = self.run, self._last
        last.take_no_more()
        self._drop_before()
        run.attempts.append(last.attempt)
        self._begin_to_conclude()
        try:
            last.conclude()
        except BaseException:
            # as in `_conclude`; the next attempt goes on all the same
            logger.exception("the failures of an attempt could not be put together")
        with self._conclusion:
            self._concluding = False
            if run._left:
                return
            self._outcome.note(event)
            self._before = last
            self._show(self._new_attempt(len(run.attempts), run.logs))

    def _drop_before(self) -> None:
        if self._before is not None:
            self._before.drop()
            self._before = None

    def _show(self, recorder: AttemptRecorder) -> None:
        """Let the run show this attempt."""
        self._last = recorder
        self.run._attempt, self.run._outputs = recorder.attempt, recorder.outputs
        if recorder.launched is not None:
            self._find_logs(recorder.launched)
