"""`Supervisor`: the thread of a gang, in which everything happens that changes a rank.

It runs one selector loop; nothing is polled. The loop wakes for messages, exits and orders, and for the earliest
deadline.
"""

from __future__ import annotations

import contextlib
import logging
import math
import select
import selectors
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from nblaunch.events import (
    Ended,
    Event,
    Exited,
    GettingReady,
    Refused,
    Stalled,
    Started,
    TimedOut,
)
from nblaunch.flag import Flag
from nblaunch.payload import Packed
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.gang.clock import RanksClock
from nblaunch.processes.gang.connections import Connections
from nblaunch.processes.gang.ending import GangEnding
from nblaunch.processes.gang.escalation import KILL, escalation
from nblaunch.processes.gang.held_ranks import HeldRanks
from nblaunch.processes.gang.orders import Orders
from nblaunch.processes.gang.policy import Policy
from nblaunch.processes.gang.rank_maker import RankMaker
from nblaunch.processes.gang.rank_stacks import RankStacks
from nblaunch.processes.gang.tasks import TaskQueue
from nblaunch.processes.gang.watched_rank import WatchedRank
from nblaunch.processes.starting.base import NotInTime, Preparation, StartMethod
from nblaunch.processes.watching.memory import OutOfMemory
from nblaunch.processes.watching.periodic_checks import PeriodicCheck, PeriodicChecks

__all__ = ["Supervisor"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds; epoll takes no more than 24 days, and looking once an hour costs nothing.
_MAX_WAIT_SECONDS = 3600.0


class Supervisor:
    """Starts the ranks of a gang, watches them and ends them; see `nblaunch.processes.gang.gang.Gang`.

    Attributes
    ----------
    orders : Orders
        What other threads want.
    policy : Policy
        What ends the ranks before they are done.
    ending : GangEnding
        Ends the ranks.
    clock : RanksClock
        Their deadlines are counted by it.
    stacks : RankStacks
        Asks the ranks where they are.
    held : HeldRanks
        Stops the ranks with the program.
    ranks : dict of int to WatchedRank
        The ranks that were started.
    tasks : TaskQueue or None
        What the ranks are given to do after their first task; None if they leave then.
    all_started : Flag
        Set when all ranks have started, or could not be.
    done : Flag
        Set when no rank is left.
    start_error : BaseException or None
        Why the ranks could not be started.
    """

    def __init__(
        self,
        rank_specs: Sequence[RankSpec],
        method: type[StartMethod],
        on_event: Callable[[Event], None],
        policy: Policy,
        *,
        preparation: Preparation,
        payload: Sequence[Packed],
        bags: Sequence[socket.socket],
        inherited: object,
        periodic_checks: Sequence[PeriodicCheck],
    ) -> None:
        self._rank_specs = list(rank_specs)
        self._method = method(self, self._rank_specs, preparation)
        self._on_event = on_event
        self._maker = RankMaker(self._method, payload, bags, inherited)
        self._periodic_checks = PeriodicChecks(periodic_checks)
        self._by_pid: dict[int, WatchedRank] = {}
        self._start_deadline = math.inf
        self._out_of_memory = OutOfMemory()
        self._selector = selectors.DefaultSelector()
        self.orders: Orders = Orders()
        self.policy: Policy = policy
        self.clock: RanksClock = RanksClock()
        self._connections = Connections(self.watch, self.unwatch, self._tell, self._note_failure, self.clock)
        self.ending: GangEnding = GangEnding(
            self._running, self._tell, self.clock, self.orders, self._method.resume_helpers, self.exited
        )
        self.stacks: RankStacks = RankStacks(self._running, self._tell)
        self.held: HeldRanks = HeldRanks(
            self._running, self.clock, (self.stacks.stopped_for, self._periodic_checks.stopped_for)
        )
        self.ranks: dict[int, WatchedRank] = {}
        self.tasks: TaskQueue | None = None
        if any(rank_spec.stays for rank_spec in self._rank_specs):
            self.tasks = TaskQueue(self._running, self._begin_task, self._connections, self._tell)
        self.all_started: Flag = Flag()
        self.done: Flag = Flag()
        self.start_error: BaseException | None = None

    def run(self) -> None:
        """Start the ranks; return when none is left and everything has been tidied up."""
        defect = None
        try:
            self._start_and_watch()
        except BaseException:
            defect = traceback.format_exc()
            logger.exception("the supervision of a gang failed; its ranks are killed")
            self._kill_everything(defect)
        finally:
            # nested, so that those who wait for the end are told of it, whatever fails
            try:
                self._answer_late_orders()
                self.tidy_up()
            finally:
                error = self.start_error
                refused = "" if error is None else str(error) or type(error).__name__
                self._tell(Ended(time.monotonic(), defect, refused, self.orders.ended))

    def close(self) -> None:
        """Wake the threads that wait for the end, or for an answer that nobody gives any more."""
        self.all_started.set()
        self.done.set()
        self._answer_late_orders()

    def tidy_up(self) -> None:
        """Close all descriptors, which ends what is left of the ranks."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._selector.close)
            stack.callback(self.orders.close)
            stack.callback(self._maker.close)
            for rank in self.ranks.values():
                stack.callback(self._connections.close, rank)
            stack.callback(self._method.close)

    def _start_and_watch(self) -> None:
        self.watch(self.orders.fileno(), self._take_orders)
        seconds = self.policy.seconds_to_start
        if seconds is not None:
            self._start_deadline = self.clock.now() + seconds
        try:
            self._start_all()
        except BaseException as error:
            self.start_error = TimeoutError(str(error)) if isinstance(error, NotInTime) else error
            self.ending.begin("the launch failed", KILL)
        self._start_deadline = math.inf
        self.policy.begin(self.clock.now())
        self._periodic_checks.begin(self.clock.now())
        self.all_started.set()
        while self._running():
            if self.tasks is not None and not self.ending.begun:
                self.tasks.go_on()
            for key, _ in self._selector.select(self._time_to_deadline()):
                key.data()
            self._meet_deadlines()

    def _begin_task(self, policy: Policy) -> None:
        self.policy = policy
        policy.begin(self.clock.now())

    def _kill_everything(self, defect: str) -> None:
        for rank in self._running():
            rank.signal(signal.SIGKILL)
            rank.gone = True
        # Once all have started, the last event tells of the defect, even if `start` has not returned yet.
        if self.start_error is None and not self.all_started.is_set():
            self.start_error = RuntimeError(f"the supervision of the gang failed; its ranks were killed:\n{defect}")

    def _running(self) -> list[WatchedRank]:
        return [rank for rank in self.ranks.values() if not rank.gone]

    def running_pids(self) -> dict[int, int]:
        """Return the process ids of the ranks that have not exited; for any thread."""
        return {rank.number: rank.pid for rank in list(self.ranks.values()) if not rank.gone}

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except BaseException:
            # SystemExit too: in this thread it would only end the supervision
            logger.exception("a consumer of events failed on %r", event)

    # ---- how ranks start

    def _start_all(self) -> None:
        with self._maker.shared_descriptors() as descriptors:
            for rank_spec in self._rank_specs:
                self._wait_while_stopped()
                self._start_one(rank_spec, descriptors)
                if self.orders.any_end:
                    self._take_orders()
                if self.ending.begun:
                    break
            self._method.begin()
        # `wait_readable` has forgotten wakes that were meant for the loop
        self.orders.wake()

    def _wait_while_stopped(self) -> None:
        """Start no rank while the program is stopped."""
        self.orders.take_stops()
        while self.clock.stands_still and not self.orders.any_end:
            select.select([self.orders], [], [])
            self.orders.forget_wakes()
            self.orders.take_stops()

    def _start_one(self, rank_spec: RankSpec, shared: Descriptors) -> None:
        rank = self._maker.make(rank_spec, shared)
        self.ranks[rank_spec.rank] = self._by_pid[rank.pid] = rank
        self._connections.open(rank)
        self._tell(Started(rank_spec.rank, rank.pid, time.monotonic()))

    # ---- for the start method (`Watch`)

    def watch(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Call `readable` whenever the descriptor is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, readable)

    def unwatch(self, descriptor: int) -> None:
        """Watch the descriptor no more."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    def wait_readable(self, descriptor: int, seconds: float | None = None) -> None:
        """Wait until the descriptor is readable, an order has come, or the time is over."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self.orders, select.POLLIN)
        own_deadline = math.inf if seconds is None else self.clock.now() + seconds
        while True:
            self.orders.take_stops()
            deadline = min(own_deadline, self._start_deadline)
            left = math.inf if self.clock.stands_still else deadline - self.clock.now()
            ready = [known for known, _ in poll.poll(None if left == math.inf else max(0.0, left) * 1000)]
            if descriptor in ready:
                return
            if not ready and self._start_deadline <= own_deadline:
                raise NotInTime(
                    f"the ranks had not started after {self.policy.seconds_to_start or 0:.0f} s, and the run has a "
                    "timeout: it was ended. Allow it more time (timeout, --timeout), or try start method spawn, which "
                    "waits for nothing"
                )
            if not ready:
                raise TimeoutError(f"a process that was to fork ranks did not answer within {seconds:.0f} s")
            if self.orders.any_end:
                raise InterruptedError("the gang was ordered to end while its ranks were starting")
            # it was another wake, such as that of `Gang.settle_within`
            self.orders.forget_wakes()

    def getting_ready(self, importing: str) -> None:
        """Tell that the ranks wait for a process that imports this package; empty if it imports none yet."""
        self._tell(GettingReady(importing, time.monotonic()))

    def exited(self, pid: int, exitcode: int) -> None:
        """Take note that a process has exited and was reaped."""
        rank = self._by_pid[pid]
        if not rank.gone:
            rank.reaped = True
            self._connections.receive(rank)
            self._connections.close(rank)
            rank.end_descendants()
            rank.gone, rank.busy = True, False
            killed_by_others = exitcode == -signal.SIGKILL and not rank.killed
            exit_ = Exited(
                rank.number,
                exitcode,
                rank.reported,
                rank.collateral,
                time.monotonic(),
                self._out_of_memory.evidence() if killed_by_others else "",
                rank.broke,
                rank.lingered if exitcode == -signal.SIGKILL else 0.0,
            )
            self._tell(exit_)
            left = self.tasks is not None and self.tasks.finished and exitcode == 0
            if not left and not self.policy.succeeded(exit_):
                self._note_failure()

    # ---- what a gang tells of its ranks, and tells them

    def answer(self, number: int, question: int, body: bytes) -> None:
        """Answer a rank, unless it is gone."""
        if number in self.ranks:
            self._connections.answer(self.ranks[number], question, body)

    def refuse(self, number: int, why: str, sent_at: float) -> None:
        """Count a rank as failed, unless the last event was told already."""
        if not self.done.is_set():
            self._tell(Refused(number, why, sent_at, time.monotonic()))
            if number in self.ranks:
                self.ranks[number].failed_at = self.clock.now()
            self._note_failure()

    def _note_failure(self) -> None:
        if self.policy.note_failure(self.clock.now()) and not self.ending.begun:
            self.stacks.take("failure")

    # ---- what other threads want

    def _take_orders(self) -> None:
        self.orders.forget_wakes()
        self.orders.take_stops()
        self.orders.run_callbacks()
        for reason, steps in self.orders.ends():
            self.ending.begin(reason, steps)

    def _answer_late_orders(self) -> None:
        self.orders.take_stops()
        self.orders.run_callbacks()
        self.stacks.close()

    def take_sample(self, sample: Event) -> None:
        """Tell what the ranks use, unless the last event was told already; for any thread."""
        self.orders.call(lambda: None if self.done.is_set() else self._tell(sample))

    def signal_alone(self, number: int, ranks: frozenset[int] | None) -> None:
        """Send a signal to the processes of ranks, and not to what they have started."""
        for rank in self._running():
            if ranks is None or rank.number in ranks:
                rank.signal_alone(number)

    # ---- deadlines

    def _deadlines(self) -> Iterable[tuple[float, Callable[[], None]]]:
        """Yield deadlines, by `time.monotonic`, each with the callback that is due then."""
        clock, policy = self.clock, self.policy
        if clock.stands_still:
            return  # a stopped rank can meet no deadline
        yield from self.stacks.deadlines()
        if self.ending.begun:
            if self.ending.step_ends_at is not None:
                yield clock.monotonic(self.ending.step_ends_at), self.ending.next_step
        elif not self.stacks.ending_waits:
            if policy.failure_ends_at is not None:
                yield clock.monotonic(policy.failure_ends_at), self._end_after_failure
            if policy.time_ends_at is not None and not (self.tasks is not None and self.tasks.rests):
                yield clock.monotonic(policy.time_ends_at), self._end_after_timeout
        # last, so that a check that is always due keeps nothing else from happening
        for at, periodic_check in self._periodic_checks.deadlines():
            yield clock.monotonic(at), partial(self._ask, periodic_check)

    def _time_to_deadline(self) -> float | None:
        deadlines = [at for at, _ in self._deadlines()]
        return min(max(0.0, min(deadlines) - time.monotonic()), _MAX_WAIT_SECONDS) if deadlines else None

    def _meet_deadlines(self) -> None:
        now = time.monotonic()
        for at, callback in self._deadlines():
            if at <= now and self._running():
                callback()
                break

    def _ask(self, periodic_check: PeriodicCheck) -> None:
        for event in self._periodic_checks.ask(periodic_check, self.clock.now()):
            self._tell(event)
            if isinstance(event, Stalled) and event.ranks and not self.ending.begun:
                self.stacks.take("stall", frozenset(event.ranks))

    def _end_after_failure(self) -> None:
        self.ending.begin("a rank failed", escalation(signal.SIGTERM, grace=self.policy.grace))

    def _end_after_timeout(self) -> None:
        policy = self.policy
        if not policy.timed_out:
            # the deadline comes again when the ranks have told where they are
            policy.timed_out = True
            self.stacks.take("timeout")
            if self.stacks.ending_waits:
                return
        running = tuple(rank.number for rank in self._running())
        self._tell(TimedOut(running, policy.timeout or 0.0, time.monotonic()))
        self.ending.begin("the time was over", escalation(signal.SIGTERM, grace=policy.grace))
