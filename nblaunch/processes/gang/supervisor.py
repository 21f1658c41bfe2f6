"""`Gang`: the ranks of one run, started, watched and ended together.

::

    rank_specs ─► Gang ─► start method ─► processes
                │                        │ exits (pidfd, helper), messages (control sockets)
                ◄────── selector ◄───────┘
                │
                └─► on_event(Started | Reported | Exited | Ending | … | Ended)

One supervisor thread runs one selector loop; nothing is polled. Everything that changes a rank happens in that thread,
other threads only leave orders for it. It is the only implementation of starting, watching and ending: the contexts of
`nblaunch.processes.api` and the local engine are faces of it.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import errno
import logging
import math
import os
import select
import selectors
import signal
import socket
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue

import psutil

from nblaunch.events import (
    Abandoned,
    Ended,
    Ending,
    Event,
    Exited,
    GettingReady,
    Refused,
    Reported,
    Signalled,
    Stack,
    StacksTaken,
    Stalled,
    Started,
    TimedOut,
)
from nblaunch.flag import Flag
from nblaunch.interrupts import MAX_WAIT_SLICE
from nblaunch.payload import Packed, store
from nblaunch.processes import _linux
from nblaunch.processes.channel import Inbox, ProtocolError
from nblaunch.processes.child.cleaners import is_cleaner
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.gang.escalation import AFTER_KILL, KILL, Step, escalation
from nblaunch.processes.starting.base import PARENT_ONLY_FDS, UNPREPARED, NotInTime, Preparation, StartMethod
from nblaunch.processes.threads import cores
from nblaunch.processes.watching.memory import OutOfMemory
from nblaunch.processes.watching.periodic_checks import PeriodicCheck
from nblaunch.processes.watching.sampling import Sampler
from nblaunch.processes.watching.stack_requests import StackRequests
from nblaunch.refusals import explained, start_or_refuse

__all__ = ["Gang"]

logger = logging.getLogger(__name__)


# Seconds that a look of the sampler may still take.
_LOOK = 1.0
# Seconds; epoll takes no more than 24 days, and looking once an hour costs nothing.
_MAX_WAIT_SECONDS = 3600.0
# Seconds that ranks have at least to start in, whatever timeout their run has.
_LEAST_TO_START = 10.0


@dataclass
class _Rank:
    """What the gang knows of one rank."""

    number: int
    pid: int
    inbox: Inbox | None
    reported: str | None = None
    collateral: bool = False
    stacks: str = ""
    gone: bool = False
    reaped: bool = False
    killed: bool = False
    broke: str = ""
    # when it told that it had failed by itself, or was found to have
    failed_at: float | None = None
    lingered: float = 0.0
    descendants: list[psutil.Process] = field(default_factory=list)


def _returned_a_value(exit_: Exited) -> bool:
    return exit_.reported == "value" and exit_.exitcode == 0


class Gang:
    """Start, watch and end a set of processes.

    Parameters
    ----------
    rank_specs : sequence of RankSpec
        One per rank, in the order of the ranks.
    method : type of StartMethod
        How the processes are made.
    on_event : callable
        Gets every `nblaunch.events` event, in order, in the supervisor thread. Must not block. An error in it is
        logged and harms nobody else.
    preparation : Preparation
        What is done before, by the start methods that can.
    payload : sequence of Packed
        Written once, one behind the other, and mapped by every rank; none if empty.
    bags : sequence of socket
        Where the descriptors wait that arguments hold; closed when all ranks have been started.
    inherited : object
        Handed to forked ranks as it is.
    succeeded : callable
        Tells of an exit whether the rank has succeeded; by default, if it reported a value and left with code 0.
    stop_on_failure : bool
        Whether the first failure ends the other ranks.
    settle : float
        Seconds between the first failure and the end of the others, so that ranks that fail for the same reason at
        about the same time are seen as failures rather than as victims.
    grace : float
        Seconds between SIGTERM and SIGKILL.
    timeout : float, optional
        Seconds after which the gang is ended.
    periodic_checks : sequence of PeriodicCheck
        Asked at intervals, as long as there are ranks, what they have seen.
    """

    def __init__(
        self,
        rank_specs: Sequence[RankSpec],
        method: type[StartMethod],
        on_event: Callable[[Event], None],
        *,
        preparation: Preparation = UNPREPARED,
        payload: Sequence[Packed] = (),
        bags: Sequence[socket.socket] = (),
        inherited: object = None,
        succeeded: Callable[[Exited], bool] = _returned_a_value,
        stop_on_failure: bool = True,
        settle: float = 0.2,
        grace: float = 30.0,
        timeout: float | None = None,
        periodic_checks: Sequence[PeriodicCheck] = (),
    ) -> None:
        self._rank_specs = list(rank_specs)
        self._method = method(self, self._rank_specs, preparation)
        self._on_event = on_event
        self._payload = list(payload)
        self._bags = list(bags)
        self._inherited = inherited
        self._succeeded = succeeded
        self._stop_on_failure = stop_on_failure
        self._settle = settle
        self._grace = grace
        self._timeout = timeout
        # each with the time of its next look
        self._periodic_checks = [(0.0, periodic_check) for periodic_check in periodic_checks]

        self._ranks: dict[int, _Rank] = {}
        self._by_pid: dict[int, _Rank] = {}
        self._orders: deque[tuple[str, tuple[Step, ...]]] = deque()
        # what other threads want done that ends nobody
        self._callbacks: deque[Callable[[], None]] = deque()
        # that the program is about to be stopped, or was set going, which is heard while ranks start too; and who waits
        self._stops: deque[tuple[Callable[[], None], SimpleQueue[None]]] = deque()
        self._stacks = StackRequests()
        # events from the sampler on their way into the one stream
        self._samples: deque[Event] = deque()
        self._sampler: Sampler | None = None
        self._sampling = threading.Lock()
        self._steps: deque[Step] = deque()
        self._ending = False
        self._ordered = False
        self._timed_out = False
        self._failed_at: float | None = None
        self._step_deadline: float | None = None
        self._run_deadline: float | None = None
        # since when this gang is stopped, with the program that started it, and which ranks were stopped for that
        self._held_at: float | None = None
        self._held: list[_Rank] = []
        # for how many seconds it was stopped until now
        self._stopped = 0.0
        # until then ranks start
        self._start_deadline = math.inf
        self._out_of_memory = OutOfMemory()
        self._start_error: BaseException | None = None
        # held by the supervisor, or by whoever found none and has tidied up instead
        self._claim = threading.Lock()
        self._thread: threading.Thread | None = None
        self._all_started = Flag()
        self._done = Flag()

        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    # ---- for any thread

    def start(self) -> None:
        """Start the supervisor thread and all ranks; return when every rank has its process.

        Raises
        ------
        OSError
            If the system refuses a process, or the thread; those that had started have been ended.
        """
        _ALIVE.add(self)
        # A daemon, or the interpreter would wait for it before it runs the atexit function that ends it. It inherits
        # the context, so that what event consumers show in a notebook lands under the cell that launched.
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._supervise,), name="nblaunch-gang", daemon=True
        )
        self._thread = thread
        try:
            start_or_refuse(thread)
            while not self._all_started.wait(MAX_WAIT_SLICE):
                continue
        except BaseException:
            # The system refused the thread, or an interrupt came while it was starting: it may still begin.
            if self.drop():
                raise
            self.end("the launch was interrupted", KILL)
            self.join()
            raise
        if self._start_error is not None:
            self.join()
            raise self._start_error

    def drop(self) -> bool:
        """Let go of a gang that was not started and will not be, and tell so; one that was started is left alone."""
        if not self._claim.acquire(blocking=False):
            return False
        try:
            self._tidy_up()
        finally:  # an interrupt must not leave those waiting who wait for the end, or for an answer
            _ALIVE.discard(self)
            self._done.set()
            self._run_callbacks()
            self._stacks.close()
            if self._sampler is not None:
                self._sampler.close()
        return True

    def end(self, reason: str, steps: Iterable[Step]) -> None:
        """Have all ranks ended, grandchildren included; returns at once.

        A later call replaces the steps of an earlier one.
        """
        self._ordered = True
        self._orders.append((reason, tuple(steps)))
        self._wake()

    def answer(self, rank: int, number: int, body: bytes) -> None:
        """Answer what a rank has asked in a message of kind ``"ask"``; returns at once."""
        self._callbacks.append(partial(self._pass_on, rank, number, body))
        self._wake()

    def refuse(self, rank: int, why: str, sent_at: float) -> None:
        """Count a rank as failed that has reported a value, because it is none; returns at once."""
        self._callbacks.append(partial(self._refuse, rank, why, sent_at))
        self._wake()

    def settle_within(self, seconds: float) -> None:
        """Change the time between the first failure and the end of the others, also for a failure of a moment ago."""
        self._settle = seconds
        self._wake()

    def pass_signal(self, number: int, ranks: Iterable[int] | None = None) -> None:
        """Send a signal to the processes of ranks that still run, by default of all; returns at once.

        What a rank has started does not get it, and the gang does not end for it.
        """
        chosen = None if ranks is None else frozenset(ranks)
        self._callbacks.append(lambda: self._signal_only(number, chosen))
        self._wake()

    def hold(self, timeout: float = 1.0) -> None:
        """Stop the ranks as Ctrl-Z does, and what they have started in their groups, until `resume`.

        Returns when they are stopped, or after `timeout` seconds if the supervisor is busy.
        """
        self._stop_or_go(self._hold, timeout)

    def resume(self) -> None:
        """Set the ranks going again that `hold` has stopped; the time between does not count against any deadline."""
        self._stop_or_go(self._resume, 1.0)

    def _stop_or_go(self, do: Callable[[float], None], timeout: float) -> None:
        done: SimpleQueue[None] = SimpleQueue()
        # the time of now, because it may be done only when the program goes on
        self._stops.append((partial(do, time.monotonic()), done))
        self._wake()
        if self._done.is_set():
            self._take_stops()
        with contextlib.suppress(Empty):
            done.get(timeout=timeout)

    def _take_stops(self) -> None:
        with contextlib.suppress(IndexError):  # another thread may take the last one
            while True:
                do, done = self._stops.popleft()
                try:
                    do()
                finally:
                    done.put(None)

    def _hold(self, at: float) -> None:
        if self._held_at is not None:
            return
        self._held_at = at
        self._held = self._running()
        for rank in self._held:
            self._signal_group(rank, signal.SIGSTOP)

    def _resume(self, at: float) -> None:
        if self._held_at is None:
            return
        stopped = at - self._held_at
        self._held_at = None
        self._stopped += stopped
        for rank in self._held:
            if not rank.gone:
                self._signal_group(rank, signal.SIGCONT)
        self._held = []
        self._start_deadline += stopped
        if self._run_deadline is not None:
            self._run_deadline += stopped
        if self._step_deadline is not None:
            self._step_deadline += stopped
        if self._failed_at is not None:
            self._failed_at += stopped
        for rank in self._ranks.values():
            if rank.failed_at is not None:
                rank.failed_at += stopped
        self._stacks.stopped_for(stopped)
        for _, periodic_check in self._periodic_checks:
            periodic_check.stopped_for(stopped)
        self._periodic_checks = [(at + stopped, periodic_check) for at, periodic_check in self._periodic_checks]

    def stacks(self, ranks: Iterable[int] | None = None, timeout: float = 5.0) -> dict[int, Stack]:
        """Return where ranks are that still run, by default all, without disturbing them.

        Raises
        ------
        TimeoutError
            If the supervisor has no time for it within so many seconds, because it still starts ranks.
        """
        chosen = None if ranks is None else frozenset(ranks)
        answer: SimpleQueue[dict[int, Stack]] = SimpleQueue()
        self._callbacks.append(lambda: self._ask_for_stacks(chosen, answer.put))
        self._wake()
        if self._done.is_set():
            return {}  # it may be too late for the wish to be heard
        deadline = time.monotonic() + timeout - self._stopped
        while True:
            left = deadline + self._stopped - time.monotonic()
            with contextlib.suppress(Empty):
                return answer.get(timeout=min(max(left, 0.05), MAX_WAIT_SLICE))
            if self._held_at is None and time.monotonic() >= deadline + self._stopped:
                break
        if self._all_started.is_set() and not self._running():
            return {}  # what they have sent is being put together
        raise TimeoutError(
            f"the stacks of the ranks could not be taken within {timeout:g} s: the ranks are still being started"
        )

    def sample(self, period: float) -> None:
        """Tell in events what the ranks use, from now on, every `period` seconds."""
        # who restarts the ranks and who shows them may both come at the same time
        with self._sampling:
            if self._sampler is None and not self._done.is_set():
                try:
                    self._sampler = Sampler(self._running_pids, self._take_sample, period)
                    self._sampler.start()
                except RuntimeError:
                    logger.debug("no more threads: what the ranks use remains unknown")
                finally:  # an interrupt too
                    if self._done.is_set() and self._sampler is not None:
                        self._sampler.close()

    def _running_pids(self) -> dict[int, int]:
        return {rank.number: rank.pid for rank in list(self._ranks.values()) if not rank.gone}

    def _take_sample(self, sample: Event) -> None:
        self._samples.append(sample)
        self._wake()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no rank is left and everything has been tidied up; tell whether that is so."""
        if not self._done.wait(timeout):
            return False
        if self._sampler is not None:
            self._sampler.join(_LOOK)
        thread = self._thread
        if thread is not None and thread.ident is not None and threading.current_thread() is not thread:
            thread.join()
        return True

    @property
    def pids(self) -> dict[int, int]:
        """Process id of every rank that was started, finished ones included."""
        return {number: rank.pid for number, rank in sorted(self._ranks.items())}

    @property
    def running(self) -> frozenset[int]:
        """The ranks whose processes have not exited."""
        return frozenset(self._running_pids())

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_writer.send(b"!")

    # ---- for the start method (`Watch`)

    def watch(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Call `readable` whenever the descriptor is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, readable)

    def unwatch(self, descriptor: int) -> None:
        """Stop doing so."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    def wait_readable(self, descriptor: int, seconds: float | None = None) -> None:
        """Wait until the descriptor is readable, an order has come, or the time is over."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        patience = math.inf if seconds is None else time.monotonic() + seconds - self._stopped
        while True:
            self._take_stops()
            deadline = patience + self._stopped
            left = math.inf if self._held_at is not None else min(deadline, self._start_deadline) - time.monotonic()
            ready = [known for known, _ in poll.poll(None if left == math.inf else max(0.0, left) * 1000)]
            if descriptor in ready:
                return
            if not ready and self._start_deadline <= deadline:
                raise NotInTime(
                    f"the ranks had not started after {self._start_patience():.0f} s, and the run has a timeout: it "
                    "was ended. Allow it more time (timeout, --timeout), or try start method spawn, which waits for "
                    "nothing"
                )
            if not ready:
                raise TimeoutError(f"a process that was to fork ranks did not answer within {seconds:.0f} s")
            if self._orders:
                raise InterruptedError("the gang was ordered to end while its ranks were starting")
            # settle_within() wakes too
            self._wake_reader.recv(4096)

    def _start_patience(self) -> float:
        # a run that may take a second may still have to wait for imports
        return max(_LEAST_TO_START, self._timeout or 0.0)

    def getting_ready(self, importing: str) -> None:
        """Tell that the ranks wait for a process that imports this package; empty if it imports none yet."""
        self._tell(GettingReady(importing, time.monotonic()))

    def exited(self, pid: int, exitcode: int) -> None:
        """Take note that a process has exited and was reaped."""
        rank = self._by_pid[pid]
        if not rank.gone:
            rank.reaped = True
            self._hear(rank)
            self._bury(rank)
            rank.gone = True
            by_others = exitcode == -signal.SIGKILL and not rank.killed
            exit_ = Exited(
                rank.number,
                exitcode,
                rank.reported,
                rank.collateral,
                time.monotonic(),
                self._out_of_memory.evidence() if by_others else "",
                rank.broke,
                rank.lingered if exitcode == -signal.SIGKILL else 0.0,
            )
            self._tell(exit_)
            if not self._succeeded(exit_):
                self._note_failure()

    # ---- the supervisor thread

    def _supervise(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        defect = None
        try:
            self.watch(self._wake_reader.fileno(), self._take_orders)
            if self._timeout is not None:
                self._start_deadline = time.monotonic() + self._start_patience()
            try:
                self._start_all()
            except BaseException as error:
                self._start_error = TimeoutError(str(error)) if isinstance(error, NotInTime) else error
                self._begin_ending("the launch failed", KILL)
            self._start_deadline = math.inf
            if self._timeout is not None:
                self._run_deadline = time.monotonic() + self._timeout
            self._periodic_checks = [
                (time.monotonic() + periodic_check.period, periodic_check)
                for _, periodic_check in self._periodic_checks
            ]
            self._all_started.set()
            while self._running():
                for key, _ in self._selector.select(self._time_to_deadline()):
                    key.data()
                self._meet_deadlines()
        except BaseException:
            defect = traceback.format_exc()
            logger.exception("the supervision of a gang failed; its ranks are killed")
            self._kill_everything(defect)
        finally:
            # one inside the other: whatever fails, those who wait for the end are told
            try:
                self._take_stops()
                self._run_callbacks()
                self._stacks.close()
                if self._sampler is not None:
                    self._sampler.close()
                self._tidy_up()
            finally:
                refused = ""
                if self._start_error is not None:
                    refused = str(self._start_error) or type(self._start_error).__name__
                self._tell(Ended(time.monotonic(), defect, refused, self._ordered))
                _ALIVE.discard(self)
                self._all_started.set()
                self._done.set()
                # what was wished for too late: somebody waits for an answer
                self._take_stops()
                self._run_callbacks()
                self._stacks.close()
                # again, for one that was made in the meantime: whoever makes one after this sees that it is over
                if self._sampler is not None:
                    self._sampler.close()

    def _start_all(self) -> None:
        with contextlib.ExitStack() as stack:
            guard_reader, self._guard_writer = os.pipe()
            PARENT_ONLY_FDS.add(self._guard_writer)
            stack.callback(os.close, guard_reader)
            payload: tuple[int, ...] = ()
            if self._payload:
                payload = stack.enter_context(store(*self._payload, most_files=cores())).descriptors
                self._payload.clear()  # its buffers are the user's arrays: let go of them
            descriptors = Descriptors(
                payload=payload, guard=guard_reader, bags=tuple(map(socket.socket.fileno, self._bags))
            )
            for rank_spec in self._rank_specs:
                self._wait_while_held()
                self._start_one(rank_spec, descriptors)
                if self._orders:
                    self._take_orders()
                if self._ending:
                    break
            self._method.begin()
        self._close_bags()
        self._inherited = None
        # who waited for a helper meanwhile has swallowed what woke it for others
        self._wake()

    def _wait_while_held(self) -> None:
        """Start no rank while the program is stopped."""
        self._take_stops()
        while self._held_at is not None and not self._orders:
            select.select([self._wake_reader], [], [])
            self._wake_reader.recv(4096)
            self._take_stops()

    def _close_bags(self) -> None:
        while self._bags:
            self._bags.pop().close()

    def _start_one(self, rank_spec: RankSpec, descriptors: Descriptors) -> None:
        while True:
            try:
                rank = self._make(rank_spec, descriptors)
                break
            except OSError as refusal:
                # spares hold descriptors that ranks need more
                if refusal.errno not in (errno.EMFILE, errno.ENFILE) or not self._method.release_spare_fds():
                    raise explained(refusal) from refusal
        self._ranks[rank_spec.rank] = self._by_pid[rank.pid] = rank
        if rank.inbox is not None:
            self.watch(rank.inbox.fileno(), partial(self._hear, rank))
        self._tell(Started(rank_spec.rank, rank.pid, time.monotonic()))

    def _make(self, rank_spec: RankSpec, descriptors: Descriptors) -> _Rank:
        with contextlib.ExitStack() as stack:
            guard = _linux.own_description(descriptors.guard)
            stack.callback(os.close, guard)
            if rank_spec.entry:
                ours, theirs = socket.socketpair()
                stack.enter_context(theirs)
                PARENT_ONLY_FDS.add(ours.fileno())
                inbox = Inbox(ours)
                control = theirs.fileno()
            else:
                inbox, control = None, -1
            try:
                own = replace(descriptors, control=control, guard=guard)
                pid = self._method.start(rank_spec, own, self._inherited)
            except BaseException:
                if inbox is not None:
                    PARENT_ONLY_FDS.discard(inbox.fileno())
                    inbox.close()
                raise
        return _Rank(rank_spec.rank, pid, inbox, stacks=rank_spec.stacks)

    def _running(self) -> list[_Rank]:
        return [rank for rank in self._ranks.values() if not rank.gone]

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except BaseException:
            # SystemExit too: in this thread it would end nothing but the supervision
            logger.exception("a consumer of events failed on %r", event)

    def _hear(self, rank: _Rank) -> None:
        """Take the messages of a rank."""
        inbox = rank.inbox
        if inbox is None:
            return
        try:
            messages = inbox.receive()
        except (ProtocolError, OSError) as error:
            messages = []
            self._break_with(rank, inbox, error)
        for message in messages:
            if message.kind in ("value", "error"):
                if rank.reported is not None:
                    continue  # it has had its last word
                rank.reported = message.kind
            self._tell(Reported(rank.number, message.kind, message.body, message.at))
            if message.kind == "error":
                rank.failed_at = time.monotonic()
                self._note_failure()
        if inbox.closed:
            self._hang_up(rank)

    def _break_with(self, rank: _Rank, inbox: Inbox, error: Exception) -> None:
        # as text: who keeps log records would keep the run with the exception's frames
        rank.broke = str(error)
        logger.warning("rank %d broke its connection: %s", rank.number, rank.broke)
        inbox.closed = True
        if not rank.reaped:  # else its number may be another process's by now
            self._signal(rank, signal.SIGKILL)

    def _pass_on(self, number: int, question: int, body: bytes) -> None:
        """Answer a rank, unless it is gone."""
        rank = self._ranks.get(number)
        if rank is None or rank.inbox is None:
            return
        try:
            rank.inbox.answer(question, body)
        except ProtocolError as error:
            self._break_with(rank, rank.inbox, error)
            self._hang_up(rank)
        except OSError as error:
            logger.debug("rank %d is gone before its answer came: %s", number, str(error))

    def _refuse(self, number: int, why: str, sent_at: float) -> None:
        if not self._done.is_set():  # else it is too late to end anybody, and the last event was told
            self._tell(Refused(number, why, sent_at, time.monotonic()))
            if number in self._ranks:
                self._ranks[number].failed_at = time.monotonic()
            self._note_failure()

    def _hang_up(self, rank: _Rank) -> None:
        if rank.inbox is not None:
            self.unwatch(rank.inbox.fileno())
            PARENT_ONLY_FDS.discard(rank.inbox.fileno())
            rank.inbox.close()
            rank.inbox = None

    def _bury(self, rank: _Rank) -> None:
        """Let go of what belonged to a rank, and of what it has left behind."""
        self._hang_up(rank)
        for process in rank.descendants:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil compares creation times, so a reused number is not hit
        rank.descendants.clear()

    def _note_failure(self) -> None:
        if self._failed_at is None:
            self._failed_at = time.monotonic()
            self._take_stacks("failure")

    def _take_orders(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)
        while self._samples:
            self._tell(self._samples.popleft())
        self._take_stops()
        self._run_callbacks()
        while self._orders:
            self._begin_ending(*self._orders.popleft())

    def _run_callbacks(self) -> None:
        with contextlib.suppress(IndexError):  # another thread may take the last one
            while True:
                self._callbacks.popleft()()

    def _begin_ending(self, reason: str, steps: tuple[Step, ...]) -> None:
        if not self._ending:
            self._ending = True
            for rank in self._running():
                # also one whose value is here: what ends its process is not a failure of its own
                rank.collateral = rank.failed_at is None
            self._tell(Ending(reason, time.monotonic()))
        self._steps = deque(steps)
        self._next_step()

    def _next_step(self) -> None:
        if not self._steps:
            for rank in self._running():
                self._abandon(rank)
            return
        step = self._steps.popleft()
        self._method.resume_helpers()
        self._remember_descendants()
        # A rank that has failed is ending by itself, and its exit code is to be its own. So nothing but SIGKILL is sent
        # to it, unless somebody has ordered the gang to end.
        chosen = [
            rank for rank in self._running() if rank.failed_at is None or self._ordered or step.signal == signal.SIGKILL
        ]
        if chosen:
            self._tell(Signalled({rank.number: rank.pid for rank in chosen}, step.signal, time.monotonic()))
        for rank in chosen:
            if rank.failed_at is not None and not self._ordered:
                rank.lingered = time.monotonic() - rank.failed_at
            self._signal(rank, step.signal)
        self._step_deadline = time.monotonic() + step.grace

    def _signal(self, rank: _Rank, number: signal.Signals) -> None:
        """Signal a rank's process group, and have it heard at once."""
        rank.killed = rank.killed or number == signal.SIGKILL
        # a stopped process takes no other signal than these two
        self._signal_group(rank, number, *([] if number == signal.SIGKILL else [signal.SIGCONT]))

    def _signal_group(self, rank: _Rank, *numbers: signal.Signals) -> None:
        """Send signals to a rank's process group; to the rank alone, which may be no group's leader, only the first."""
        try:
            for number in numbers:
                os.killpg(rank.pid, number)
        except ProcessLookupError:
            # it has not become the leader of a group yet, or is just being reaped
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank.pid, numbers[0])
        except PermissionError:
            logger.warning("rank %d (pid %d) may not be signalled", rank.number, rank.pid)

    def _remember_descendants(self) -> None:
        """Note who descends from which rank, for the time when the rank is gone and nobody can tell any more."""
        parents: dict[int, int] = {}
        processes: dict[int, psutil.Process] = {}
        # OSError: descriptors have run out, which may be the very reason to end the gang
        with contextlib.suppress(psutil.Error, OSError):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error, OSError):
                    parents[process.pid] = process.ppid()
                    if not is_cleaner(process):
                        processes[process.pid] = process
        for pid, process in processes.items():
            above = parents[pid]
            while above not in self._by_pid and above in parents:
                above = parents[above]
            if above in self._by_pid:
                self._by_pid[above].descendants.append(process)

    def _abandon(self, rank: _Rank) -> None:
        logger.error(
            "rank %d (pid %d) did not go after SIGKILL: it hangs in the kernel and is left alone",
            rank.number,
            rank.pid,
        )
        self._tell(Abandoned(rank.number, rank.pid, time.monotonic()))
        self.exited(rank.pid, -signal.SIGKILL)

    def _signal_only(self, number: int, ranks: frozenset[int] | None) -> None:
        for rank in self._running():
            if ranks is None or rank.number in ranks:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(rank.pid, number)

    def _take_stacks(self, reason: str, ranks: frozenset[int] | None = None) -> None:
        """Have the ranks that are still at work tell where they are; the gang does not end before they have."""
        at = time.monotonic()

        def tell(stacks: dict[int, Stack]) -> None:
            if stacks:
                self._tell(StacksTaken(stacks, reason, at))

        if not self._ending and any(rank.stacks for rank in self._running()):
            self._ask_for_stacks(ranks, tell, ending_waits=True)

    def _ask_for_stacks(
        self, ranks: frozenset[int] | None, give: Callable[[dict[int, Stack]], None], ending_waits: bool = False
    ) -> None:
        self._stacks.ask(
            {
                rank.number: (rank.pid, rank.stacks)
                for rank in self._running()
                if rank.reported is None and (ranks is None or rank.number in ranks)
            },
            give,
            ending_waits,
        )

    def _deadlines(self) -> Iterable[tuple[float, Callable[[], None]]]:
        if self._held_at is not None:
            return  # none of the ranks can do anything, and the clock stands still for them
        yield from self._stacks.deadlines()
        if self._ending:
            if self._step_deadline is not None:
                yield self._step_deadline, self._next_step
        elif not self._stacks.ending_waits:
            if self._stop_on_failure and self._failed_at is not None:
                yield self._failed_at + self._settle, self._end_after_failure
            if self._run_deadline is not None:
                yield self._run_deadline, self._end_after_timeout
        # last, so that one that is always late keeps nothing else from happening
        for at, periodic_check in self._periodic_checks:
            yield at, partial(self._ask, at, periodic_check)

    def _time_to_deadline(self) -> float | None:
        deadlines = [at for at, _ in self._deadlines()]
        return min(max(0.0, min(deadlines) - time.monotonic()), _MAX_WAIT_SECONDS) if deadlines else None

    def _meet_deadlines(self) -> None:
        now = time.monotonic()
        for at, meet in self._deadlines():
            if at <= now and self._running():
                meet()
                break

    def _ask(self, at: float, periodic_check: PeriodicCheck) -> None:
        now = time.monotonic()
        self._periodic_checks.remove((at, periodic_check))
        try:
            for event in periodic_check.look(now):
                self._tell(event)
                if isinstance(event, Stalled) and event.ranks:
                    self._take_stacks("stall", frozenset(event.ranks))
            # behind the others, so that each gets its turn
            self._periodic_checks.append((now + periodic_check.period, periodic_check))
        except BaseException:
            # SystemExit too, see _tell
            logger.exception("%r failed and is not asked again", periodic_check)

    def _end_after_failure(self) -> None:
        self._begin_ending("a rank failed", escalation(signal.SIGTERM, grace=self._grace))

    def _end_after_timeout(self) -> None:
        assert self._timeout is not None
        if not self._timed_out:
            # comes here again when the ranks have told where they are
            self._timed_out = True
            self._take_stacks("timeout")
            if self._stacks.ending_waits:
                return
        running = tuple(rank.number for rank in self._running())
        self._tell(TimedOut(running, self._timeout, time.monotonic()))
        self._begin_ending("the time was over", escalation(signal.SIGTERM, grace=self._grace))

    def _kill_everything(self, defect: str) -> None:
        for rank in self._running():
            self._signal(rank, signal.SIGKILL)
            rank.gone = True
        # afterwards it is told in the last event, also if whoever waits for the start has not heard of it yet
        if self._start_error is None and not self._all_started.is_set():
            self._start_error = RuntimeError(f"the supervision of the gang failed; its ranks were killed:\n{defect}")

    def _tidy_up(self) -> None:
        # closing the writing end lets the kernel end whatever is left in the groups of the ranks
        with contextlib.ExitStack() as stack:
            stack.callback(self._selector.close)
            stack.callback(self._wake_reader.close)
            stack.callback(self._wake_writer.close)
            if hasattr(self, "_guard_writer"):
                PARENT_ONLY_FDS.discard(self._guard_writer)
                stack.callback(os.close, self._guard_writer)
            stack.callback(self._close_bags)
            for rank in self._ranks.values():
                stack.callback(self._hang_up, rank)
            stack.callback(self._method.close)


_ALIVE: weakref.WeakSet[Gang] = weakref.WeakSet()
# the copy of a gang in a forked process has no supervisor that could end it
os.register_at_fork(after_in_child=_ALIVE.clear)


@atexit.register
def _end_gangs() -> None:
    """Leave nothing behind when the interpreter ends in an orderly way."""
    # until none is left: one may be followed by another
    while gangs := list(_ALIVE):
        for gang in gangs:
            gang.end("the interpreter is ending", KILL)
        for gang in gangs:
            if not gang.join(AFTER_KILL):
                return
