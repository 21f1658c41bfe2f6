"""Restarts: all ranks are started once more after a failure, on any engine.

::

    plan ─► attempt 0 ─ failed, and a restart is left ─► attempt 1 ─► … ─► Ended
              └────────────── events ───────────────────────┴─► on_event

Each attempt is a plan of its own for the engine, which knows of no other one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from nblaunch.engines.base import Engine, Plan, Ranks
from nblaunch.events import AllExited, Ended, Event, Exited, LastWord, Launched, Restarting, Stack, TimedOut
from nblaunch.logs.reader import LogReader

__all__ = ["RestartedRanks", "prepare_with_restarts"]


def prepare_with_restarts(engine: Engine, plan: Plan, on_event: Callable[[Event], None]) -> Ranks:
    """Have an engine prepare a plan, for as many attempts as the plan allows; see `nblaunch.engines.base.Engine`."""
    return RestartedRanks(engine, plan, on_event) if plan.max_restarts else engine.prepare(plan, on_event)


class RestartedRanks:
    """The ranks of a run that may be started again; see `nblaunch.engines.base.Ranks`."""

    def __init__(self, engine: Engine, plan: Plan, on_event: Callable[[Event], None]) -> None:
        self._engine = engine
        self._plan = plan
        self._on_event = on_event
        self._logs: dict[int, LogReader] = {}
        # until when all attempts together may take
        self._deadline: float | None = None
        # since when the ranks are stopped, with this program
        self._held_at: float | None = None
        self._sampled_every: float | None = None
        # guards what an order to end and a restart that comes at the same time both look at
        self._lock = threading.Lock()
        # whether a rank has failed by itself, in this attempt; whether somebody, or the time, has ended the run
        self._failed = self._ordered = False
        self._over = False
        self._ranks = engine.prepare(plan, self._pass_on)

    def start(self) -> None:
        """Start the ranks; if one fails, all of them again as often as the plan allows."""
        if self._plan.timeout is not None:
            self._deadline = time.monotonic() + self._plan.timeout
        self._ranks.start()

    def _pass_on(self, event: Event) -> None:
        if isinstance(event, Ended):
            self._go_on_or_end(event)
            return
        if isinstance(event, Launched):
            self._logs[event.attempt] = self._ranks.logs(event.attempt)
        elif isinstance(event, Exited):
            self._failed = self._failed or not (event.collateral or event.reported == LastWord.VALUE)
        elif isinstance(event, TimedOut):
            self._ordered = True
            # of all attempts together
            event = replace(event, seconds=self._plan.timeout or event.seconds)
        self._on_event(event)

    def _go_on_or_end(self, ended: Ended) -> None:
        """Start all ranks once more, if that is what is to be done, or tell that the run is over.

        In the thread that tells of the end of an attempt: nobody else may be left to do it.
        """
        plan = self._plan
        # no restart after a stop or a failed start
        possible = plan.attempt < plan.max_restarts and not (ended.ordered or ended.refused or ended.defect)
        if possible and not self._failed:
            self._on_event(AllExited(time.monotonic()))
        with self._lock:
            again = possible and self._failed and not self._ordered
            if again:
                self._plan = plan = replace(plan, attempt=plan.attempt + 1)
        if again:
            self._on_event(Restarting(plan.attempt, plan.max_restarts, time.monotonic()))
            # now that nobody refuses a value of the attempt before any more
            self._failed = False
            refused = self._start_again()
            if refused is None:
                return
            ended = replace(ended, refused=refused, at=time.monotonic())
        self._over = True
        # what every rank was sent are the user's arrays: let go of them
        self._plan = replace(self._plan, payload=())
        self._on_event(ended)

    def _start_again(self) -> str | None:
        """Start the next attempt; return why that was not possible, if its ranks have not told so themselves."""
        plan = self._plan
        if self._deadline is not None:
            plan = replace(plan, timeout=max(0.0, self._deadline - time.monotonic()))
        try:
            ranks = self._engine.prepare(plan, self._pass_on)
            with self._lock:
                # whoever orders the end from now on orders it of these
                self._ranks = ranks
                if self._ordered:
                    return "the run was ended before"
            if self._sampled_every is not None:
                ranks.sample(self._sampled_every)
            if self._held_at is not None:
                ranks.hold()
                if self._held_at is None:  # it was resumed meanwhile, maybe before these were held
                    ranks.resume()
            ranks.start()
        except BaseException as error:
            return None if self._over else str(error) or type(error).__name__
        return None

    def _to_end(self) -> Ranks:
        with self._lock:
            self._ordered = True
            return self._ranks

    def interrupt(self) -> None:
        """Interrupt the ranks as Ctrl-C does, and start none again."""
        self._to_end().interrupt()

    def stop(self) -> None:
        """Ask the ranks to terminate, and start none again."""
        self._to_end().stop()

    def kill(self) -> None:
        """Kill the ranks at once, and start none again."""
        self._to_end().kill()

    def signal(self, number: int, ranks: Iterable[int] | None) -> None:
        """Send a signal to ranks."""
        self._ranks.signal(number, ranks)

    def hold(self) -> None:
        """Stop the ranks as Ctrl-Z does, until `resume`; those of the next attempt too."""
        # without the lock, which the thread may have that this interrupts
        self._held_at = time.monotonic()
        self._ranks.hold()

    def resume(self) -> None:
        """Set the ranks going again; the time between does not count against any deadline."""
        held_at, self._held_at = self._held_at, None
        if held_at is not None and self._deadline is not None:
            self._deadline += time.monotonic() - held_at
        self._ranks.resume()

    def stacks(self, ranks: Iterable[int] | None, native: bool) -> dict[int, Stack]:
        """Return where ranks are."""
        return self._ranks.stacks(ranks, native)

    def refuse(self, rank: int, why: str, sent_at: float) -> None:
        """Count a rank as failed: what it has sent is no value."""
        self._failed = True
        self._ranks.refuse(rank, why, sent_at)

    def answer(self, rank: int, number: int, body: bytes) -> None:
        """Answer what a rank has asked."""
        self._ranks.answer(rank, number, body)

    def logs(self, attempt: int) -> LogReader:
        """Return who reads the logs of an attempt."""
        return self._logs[attempt]

    def sample(self, period: float) -> None:
        """Tell what the ranks use, those of the next attempts too."""
        self._sampled_every = period
        self._ranks.sample(period)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no rank is left; tell whether that is so."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            ranks = self._ranks
            if not ranks.join(None if deadline is None else max(0.0, deadline - time.monotonic())):
                return False
            # an attempt that is followed by another has prepared that one by then
            if ranks is self._ranks:
                return True
