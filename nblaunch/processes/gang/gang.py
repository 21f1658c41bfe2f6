"""`Gang`: the ranks of one run, started, watched and ended together.

::

    rank_specs ─► Gang ─► Supervisor ─► start method ─► processes
                               │            │ exits (pidfd, helper), messages (control sockets)
                               ◄── selector ◄┘
                               │
                               └─► on_event(Started | Finished | Exited | Ending | … | Ended)

Other threads call the methods of a gang. Each of these leaves an order for the supervisor's thread, in which everything
that changes a rank happens. This is the only implementation of starting, watching and ending processes: the contexts of
`nblaunch.processes.api` and the local engine use it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import Empty, SimpleQueue

from nblaunch.cell_threads import cell_thread
from nblaunch.events import Event, Stack
from nblaunch.interrupts import MAX_WAIT_SLICE
from nblaunch.payload import Packed
from nblaunch.processes.child.rank_spec import RankSpec
from nblaunch.processes.gang.escalation import AFTER_KILL, KILL, Step
from nblaunch.processes.gang.policy import Policy
from nblaunch.processes.gang.supervisor import Supervisor
from nblaunch.processes.gang.tasks import GangTask
from nblaunch.processes.starting.base import UNPREPARED, Preparation, StartMethod
from nblaunch.processes.watching.periodic_checks import PeriodicCheck
from nblaunch.processes.watching.sampling import Sampler
from nblaunch.refusals import start_or_refuse

__all__ = ["Gang"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds that `join` waits for the sampler's last look.
_SAMPLER_PATIENCE = 1.0


class Gang:
    """Start, watch and end a set of processes.

    Parameters
    ----------
    rank_specs : sequence of RankSpec
        One per rank, in the order of the ranks.
    method : type of StartMethod
        How the processes are made.
    on_event : callable
        Gets every `nblaunch.events` event, in order, in the supervisor's thread. It must not block. An error in it is
        logged, and the gang goes on.
    policy : Policy, optional
        What ends the ranks before they are done.
    preparation : Preparation
        What processes import and do before the ranks' own work, with start methods that can do so ahead.
    payload : sequence of Packed
        What every rank maps; it is written once.
    bags : sequence of socket
        Sockets with the descriptors that arguments hold, see `nblaunch.processes.elastic.inheritance`; closed when all
        ranks have been started.
    inherited : object
        An object that ranks of start method ``fork`` get without pickling.
    periodic_checks : sequence of PeriodicCheck
        Asked at intervals, as long as there are ranks.
    """

    def __init__(
        self,
        rank_specs: Sequence[RankSpec],
        method: type[StartMethod],
        on_event: Callable[[Event], None],
        *,
        policy: Policy | None = None,
        preparation: Preparation = UNPREPARED,
        payload: Sequence[Packed] = (),
        bags: Sequence[socket.socket] = (),
        inherited: object = None,
        periodic_checks: Sequence[PeriodicCheck] = (),
    ) -> None:
        self._supervisor = Supervisor(
            rank_specs,
            method,
            on_event,
            policy or Policy(),
            preparation=preparation,
            payload=payload,
            bags=bags,
            inherited=inherited,
            periodic_checks=periodic_checks,
        )
        self._orders = self._supervisor.orders
        self._sampler: Sampler | None = None
        self._sampling = threading.Lock()
        self._thread: threading.Thread | None = None
        # acquired once: by the supervisor's thread, or by `drop` if that thread has not begun and must not any more
        self._claim = threading.Lock()

    def start(self) -> None:
        """Start the supervisor thread and all ranks; return when every rank has its process.

        Raises
        ------
        OSError
            If the system refuses a process, or the thread; those that had started have been ended.
        """
        _ALIVE.add(self)
        # A daemon: the interpreter would wait for another thread before it runs the atexit function that ends it.
        self._thread = thread = cell_thread("nblaunch-gang", self._supervise)
        try:
            start_or_refuse(thread)
            self._supervisor.all_started.wait()
        except BaseException:
            # The system refused the thread, or an interrupt came while it was starting: it may still begin.
            if self.drop():
                raise
            self.end("the launch was interrupted", KILL)
            self.join()
            raise
        if self._supervisor.start_error is not None:
            self.join()
            raise self._supervisor.start_error

    def _supervise(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._supervisor.run()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        _ALIVE.discard(self)
        self._supervisor.close()
        if self._sampler is not None:
            self._sampler.close()

    def drop(self) -> bool:
        """Tidy up a gang that was not started, and keep it from starting; return False if it was started."""
        if not self._claim.acquire(blocking=False):
            return False
        try:
            self._supervisor.tidy_up()
        finally:  # even after an interrupt, threads that wait for the end or for an answer must be woken
            self._let_go()
        return True

    def end(self, reason: str, steps: Iterable[Step]) -> None:
        """Have all ranks ended, grandchildren included; returns at once.

        A later call replaces the steps of an earlier one.
        """
        self._orders.end(reason, steps)

    def submit(self, task: GangTask) -> None:
        """Give ranks that stay another task, for when they have done those before; returns at once.

        `nblaunch.events.TaskEnded` tells that it is done.

        Raises
        ------
        ValueError
            If the ranks do not stay (`nblaunch.processes.child.rank_spec.RankSpec.stays`).
        """
        if self._supervisor.tasks is None:
            raise ValueError("the ranks of this gang leave after their first task: only those with stays=True wait")
        self._orders.call(partial(self._supervisor.tasks.submit, task))

    def finish(self) -> None:
        """Let ranks that stay leave when they have done their tasks; returns at once."""
        if self._supervisor.tasks is not None:
            self._orders.call(self._supervisor.tasks.finish)

    def answer(self, rank: int, number: int, body: bytes) -> None:
        """Answer what a rank has asked in a message of kind ``"ask"``; returns at once."""
        self._orders.call(partial(self._supervisor.answer, rank, number, body))

    def refuse(self, rank: int, why: str, sent_at: float) -> None:
        """Count a rank as failed because the value that it has reported cannot be used; returns at once."""
        self._orders.call(partial(self._supervisor.refuse, rank, why, sent_at))

    def settle_within(self, seconds: float) -> None:
        """Change the time between the first failure and the end of the others, also for a failure of a moment ago."""
        self._supervisor.policy.settle = seconds
        self._orders.wake()

    def pass_signal(self, number: int, ranks: Iterable[int] | None = None) -> None:
        """Send a signal to the processes of ranks that still run, by default of all; returns at once.

        What a rank has started does not get it, and the gang does not end for it.
        """
        chosen = None if ranks is None else frozenset(ranks)
        self._orders.call(partial(self._supervisor.signal_alone, number, chosen))

    def hold(self, timeout: float = 1.0) -> None:
        """Stop the ranks as Ctrl-Z does, and what they have started in their groups, until `resume`.

        Returns when they are stopped, or after `timeout` seconds if the supervisor is busy.
        """
        self._stop_or_go(self._supervisor.held.stop, timeout)

    def resume(self) -> None:
        """Set the ranks going again that `hold` has stopped; the time between does not count against any deadline."""
        self._stop_or_go(self._supervisor.held.go_on, 1.0)

    def _stop_or_go(self, do: Callable[[float], None], timeout: float) -> None:
        # the present time, because the order may be obeyed only when the program goes on
        done = self._orders.stop_or_go(partial(do, time.monotonic()))
        if self._supervisor.done.is_set():
            self._orders.take_stops()
        with contextlib.suppress(Empty):
            done.get(timeout=timeout)

    def stacks(self, ranks: Iterable[int] | None = None, timeout: float = 5.0) -> dict[int, Stack]:
        """Return where ranks are that still run, by default all, without disturbing them.

        Raises
        ------
        TimeoutError
            If the supervisor does not answer within `timeout` seconds, because it is still starting ranks.
        """
        chosen = None if ranks is None else frozenset(ranks)
        supervisor, clock = self._supervisor, self._supervisor.clock
        answer: SimpleQueue[dict[int, Stack]] = SimpleQueue()
        self._orders.call(partial(supervisor.stacks.ask_busy, chosen, answer.put))
        if supervisor.done.is_set():
            return {}  # the supervisor may not have seen the order any more
        deadline = clock.now() + timeout
        while True:
            with contextlib.suppress(Empty):
                return answer.get(timeout=min(max(deadline - clock.now(), 0.05), MAX_WAIT_SLICE))
            if clock.now() >= deadline:
                break
        if supervisor.all_started.is_set() and not self.running:
            return {}  # no rank is left: event consumers keep the supervisor busy
        raise TimeoutError(
            f"the stacks of the ranks could not be taken within {timeout:g} s: the ranks are still being started"
        )

    def sample(self, period: float) -> None:
        """Tell in events what the ranks use, from now on, every `period` seconds."""
        done = self._supervisor.done
        # several threads may call this at the same time
        with self._sampling:
            if self._sampler is None and not done.is_set():
                try:
                    self._sampler = Sampler(self._supervisor.running_pids, self._supervisor.take_sample, period)
                    self._sampler.start()
                except RuntimeError:
                    logger.debug("no more threads: what the ranks use remains unknown")
                finally:  # an interrupt too
                    if done.is_set() and self._sampler is not None:
                        self._sampler.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no rank is left and everything has been tidied up; tell whether that is so."""
        if not self._supervisor.done.wait(timeout):
            return False
        if self._sampler is not None:
            self._sampler.join(_SAMPLER_PATIENCE)
        thread = self._thread
        if thread is not None and thread.ident is not None and threading.current_thread() is not thread:
            thread.join()
        return True

    @property
    def pids(self) -> dict[int, int]:
        """Process id of every rank that was started, finished ones included."""
        return {number: rank.pid for number, rank in sorted(self._supervisor.ranks.items())}

    @property
    def running(self) -> frozenset[int]:
        """The ranks whose processes have not exited."""
        return frozenset(self._supervisor.running_pids())


_ALIVE: weakref.WeakSet[Gang] = weakref.WeakSet()
# the copy of a gang in a forked process has no supervisor that could end it
os.register_at_fork(after_in_child=_ALIVE.clear)


@atexit.register
def _end_gangs() -> None:
    """End all gangs when the interpreter ends."""
    # repeated, because a gang that ends may be followed by a restart
    while gangs := list(_ALIVE):
        for gang in gangs:
            gang.end("the interpreter is ending", KILL)
        for gang in gangs:
            if not gang.join(AFTER_KILL):
                return
