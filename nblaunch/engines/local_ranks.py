"""The ranks of one plan on this machine: one gang, and what belongs to it, such as log files and a port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from nblaunch.engines.base import Plan
from nblaunch.engines.rank_files import RankFiles, make_rank_files
from nblaunch.events import (
    Ended,
    Event,
    Exited,
    Imported,
    LastWord,
    Launched,
    Stack,
)
from nblaunch.logs.reader import LocalLogs, LogReader
from nblaunch.processes.child.rank_spec import RankSpec
from nblaunch.processes.errors.failure import read_error_file
from nblaunch.processes.gang.escalation import KILL, Step, escalation
from nblaunch.processes.gang.gang import Gang
from nblaunch.processes.gang.policy import Policy
from nblaunch.processes.starting.base import Preparation
from nblaunch.processes.starting.preloads import learn
from nblaunch.processes.starting.start_methods import start_method_named
from nblaunch.processes.watching.log_limit import LogLimit
from nblaunch.processes.watching.native_stacks import native_stacks, require_py_spy
from nblaunch.processes.watching.stalls import StallWatch

__all__ = ["LocalRanks", "reserve_port"]


class LocalRanks:
    """See `nblaunch.engines.base.Ranks`."""

    def __init__(self, plan: Plan, preparation: Preparation, on_event: Callable[[Event], None]) -> None:
        self._plan = plan
        self._preparation = preparation
        self._on_event = on_event
        self._reader: LocalLogs | None = None
        self._stalls: StallWatch | None = None
        # whether the ranks are stopped, with this program
        self._held = False
        self._sampled_every: float | None = None
        # guards what an order to end and a start at the same time both look at
        self._lock = threading.Lock()
        self._gang: Gang | None = None
        self._port: socket.socket | None = None
        self._ordered = False

    def start(self) -> None:
        """Start the ranks on this machine.

        Raises
        ------
        InterruptedError
            If the run was ordered to end before all had started.
        """
        try:
            gang = self._make_gang()
            # what was ordered before there was a gang that could have been told
            if self._ordered:
                raise InterruptedError("the run was ended before its ranks were started")
            if self._sampled_every is not None:
                gang.sample(self._sampled_every)
            if self._held:
                gang.hold(0)
                if not self._held:  # told meanwhile, maybe before
                    gang.resume()
            gang.start()
        except BaseException:
            self._drop_unstarted()
            raise

    def _drop_unstarted(self) -> None:
        """Let go of a gang that an interrupt, for example, has kept from starting: nobody would ever end it."""
        if self._gang is not None:
            self._gang.drop()
        if self._port is not None:
            self._port.close()

    def _make_gang(self) -> Gang:
        plan = self._plan
        with contextlib.ExitStack() as stack:
            port = None if plan.placement.master_port else stack.enter_context(reserve_port())
            self._port = port
            folder, files = make_rank_files(plan.log_dir, plan.run_id, plan.attempt, plan.ranks)
            logs = {rank: (of_rank.stdout, of_rank.stderr) for rank, of_rank in files.items()}
            self._stalls = stalls = StallWatch(logs, plan.stall, plan.straggler)
            limits = (
                [LogLimit([path for paths in logs.values() for path in paths], plan.max_log)] if plan.max_log else []
            )

            def pass_on(event: Event) -> None:
                stalls.note(event)
                if isinstance(event, Imported):
                    learn(event.modules)
                    return
                if isinstance(event, Exited) and event.reported != LastWord.VALUE:
                    event = replace(event, error_file=read_error_file(files[event.rank].error_file))
                elif isinstance(event, Ended):
                    if port is not None:
                        port.close()
                    for limit in limits:  # what was written since the last look
                        limit.look()
                    # what every rank was sent are the user's arrays: let go of them
                    self._plan = replace(self._plan, payload=())
                self._on_event(event)

            gang = Gang(
                _rank_specs(plan, files, port),
                start_method_named(plan.start_method),
                pass_on,
                preparation=self._preparation,
                payload=plan.payload,
                policy=Policy(
                    # a value that has arrived is kept, whatever becomes of the process while it exits
                    lambda exit_: exit_.reported == LastWord.VALUE,
                    stop_on_failure=plan.stop_on_failure,
                    grace=plan.grace,
                    timeout=plan.timeout,
                ),
                periodic_checks=[*limits, *([stalls] if plan.stall or plan.straggler else [])],
            )
            self._reader = LocalLogs(folder, logs)
            hosts = (os.uname().nodename,) * plan.nprocs
            self._on_event(Launched(plan.nprocs, time.monotonic(), plan.attempt, hosts))
            with self._lock:
                self._gang = gang
            stack.pop_all()
        return gang

    def interrupt(self) -> None:
        """Send SIGINT, then SIGTERM, then SIGKILL, a grace apart."""
        self._end("the run was interrupted", escalation(signal.SIGINT, signal.SIGTERM, grace=self._plan.grace))

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL, a grace apart."""
        self._end("the run was stopped", escalation(signal.SIGTERM, grace=self._plan.grace))

    def kill(self) -> None:
        """Send SIGKILL."""
        self._end("the run was killed", KILL)

    def signal(self, number: int, ranks: Iterable[int] | None) -> None:
        """Send a signal to ranks."""
        if self._gang is not None:
            self._gang.pass_signal(number, ranks)

    def hold(self) -> None:
        """Stop the ranks as Ctrl-Z does, until `resume`."""
        # without the lock, which the thread may have that this interrupts
        self._held = True
        gang = self._gang
        if gang is not None:
            gang.hold()

    def resume(self) -> None:
        """Set the ranks going again; the time between does not count against any deadline."""
        self._held = False
        gang = self._gang
        if gang is not None:
            gang.resume()

    def stacks(self, ranks: Iterable[int] | None, native: bool) -> dict[int, Stack]:
        """Return where ranks are."""
        gang = self._gang
        if gang is None:
            return {}
        if native:
            require_py_spy()
        stacks = gang.stacks(ranks)
        if native:
            pids = gang.pids
            texts = native_stacks({rank: pids[rank] for rank in stacks}, lambda rank: rank in gang.running)
            stacks = {rank: replace(stack, native=texts[rank]) for rank, stack in stacks.items()}
        return stacks

    def refuse(self, rank: int, why: str, sent_at: float) -> None:
        """Count a rank as failed: what it has sent is no value."""
        gang = self._gang
        if gang is not None:
            gang.refuse(rank, why, sent_at)

    def answer(self, rank: int, number: int, body: bytes) -> None:
        """Answer what a rank has asked."""
        if self._stalls is not None:
            self._stalls.answered(rank, number)
        if self._gang is not None:
            self._gang.answer(rank, number, body)

    def logs(self, attempt: int) -> LogReader:
        """Return who reads the logs of an attempt."""
        assert self._reader is not None
        return self._reader

    def sample(self, period: float) -> None:
        """Tell what the ranks use."""
        self._sampled_every = period
        if self._gang is not None:
            self._gang.sample(period)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no rank is left; tell whether that is so."""
        return self._gang is None or self._gang.join(timeout)

    def _end(self, reason: str, steps: tuple[Step, ...]) -> None:
        with self._lock:
            self._ordered = True
            gang = self._gang
        if gang is not None:
            gang.end(reason, steps)


def _rank_specs(plan: Plan, files: Mapping[int, RankFiles], port: socket.socket | None) -> list[RankSpec]:
    surroundings = plan.surroundings
    number = plan.placement.master_port if port is None else port.getsockname()[1]
    return [
        RankSpec(
            rank=rank,
            entry=plan.entry,
            # what the user asks for wins
            env={
                **surroundings.environment,
                **_torchrun_variables(plan, rank, number),
                "TORCHELASTIC_ERROR_FILE": files[rank].error_file,
                **plan.env,
            },
            cwd=surroundings.directory,
            stdout=files[rank].stdout,
            stderr=files[rank].stderr,
            stacks=files[rank].stacks,
            sys_path=surroundings.sys_path,
            argv=surroundings.argv,
        )
        for rank in plan.ranks
    ]


def reserve_port() -> socket.socket:
    """Return a socket that keeps a free port of the loopback address for the ranks.

    It is bound exclusively, so that nobody else, another run included, is given the port; only then is
    ``SO_REUSEADDR`` set, which lets a rank bind and listen beside it (Linux allows that as long as this socket does not
    listen; see ``bind`` in socket(7) and ip(7)).
    """
    reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reservation.bind(("127.0.0.1", 0))
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return reservation


def _torchrun_variables(plan: Plan, rank: int, port: int) -> dict[str, str]:
    """Return what ``torchrun`` of torch 2.13 sets (its LocalElasticAgent); on several nodes, as it does there."""
    placement, size = plan.placement, str(plan.world_size)
    variables = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank - placement.first_rank),
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": str(plan.nprocs),
        "GROUP_RANK": str(placement.node),
        "GROUP_WORLD_SIZE": str(placement.nodes),
        "ROLE_NAME": "default",
        "ROLE_RANK": str(rank),
        "ROLE_WORLD_SIZE": size,
        "MASTER_ADDR": placement.master_addr,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RESTART_COUNT": str(plan.attempt),
        "TORCHELASTIC_MAX_RESTARTS": str(plan.max_restarts),
        "TORCHELASTIC_RUN_ID": plan.run_id,
        "TORCHELASTIC_USE_AGENT_STORE": "False",
    }
    if "TORCH_NCCL_ASYNC_ERROR_HANDLING" not in plan.surroundings.environment:
        variables["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "1"
    if placement.nodes == 1 and "GLOO_SOCKET_IFNAME" not in plan.surroundings.environment:
        # torchrun leaves this out: gloo then listens where the host's name leads to, or fails if that leads nowhere
        variables["GLOO_SOCKET_IFNAME"] = "lo"
    return variables
