"""The engine for this machine: a gang of local processes, with the variables that ``torchrun`` sets."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial

from nblaunch.engines.base import Plan
from nblaunch.events import Ended, Event, Launched
from nblaunch.processes.api import DefaultLogsSpecs, Std
from nblaunch.processes.child import Birth
from nblaunch.processes.gang import KILL, Gang, escalation
from nblaunch.processes.start_methods import START_METHODS

__all__ = ["LocalEngine", "LocalRanks", "reserve_port"]


class LocalRanks:
    """See `nblaunch.engines.base.Ranks`."""

    def __init__(self, gang: Gang, grace: float) -> None:
        self._gang = gang
        self._grace = grace

    def interrupt(self) -> None:
        """Send SIGINT, then SIGTERM, then SIGKILL, a grace apart."""
        steps = escalation(signal.SIGINT, signal.SIGTERM, grace=self._grace)
        self._gang.end("the run was interrupted", steps)

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL, a grace apart."""
        self._gang.end("the run was stopped", escalation(signal.SIGTERM, grace=self._grace))

    def kill(self) -> None:
        """Send SIGKILL."""
        self._gang.end("the run was killed", KILL)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no rank is left; tell whether that is so."""
        return self._gang.join(timeout)


class LocalEngine:
    """See `nblaunch.engines.base.Engine`."""

    def launch(self, plan: Plan, on_event: Callable[[Event], None]) -> LocalRanks:
        """Start the ranks on this machine."""
        if plan.start_method not in START_METHODS:
            raise ValueError(f"unknown start method {plan.start_method!r}: choose one of {', '.join(START_METHODS)}")
        port = reserve_port()
        try:
            return self._launch(plan, on_event, port)
        except BaseException:
            port.close()
            raise

    def _launch(self, plan: Plan, on_event: Callable[[Event], None], port: socket.socket) -> LocalRanks:
        envs = {rank: _torchrun_variables(plan, rank, port.getsockname()[1]) for rank in range(plan.nprocs)}
        logs = DefaultLogsSpecs(plan.log_dir, redirects=Std.ALL).reify(envs)
        environment = dict(os.environ)
        births = [
            Birth(
                rank=rank,
                entry=plan.entry,
                # what the user asks for wins
                env=environment | envs[rank] | dict(plan.env),
                cwd=_working_directory(),
                stdout=logs.stdouts[rank],
                stderr=logs.stderrs[rank],
                sys_path=tuple(sys.path),
                argv=tuple(sys.argv),
            )
            for rank in range(plan.nprocs)
        ]

        def pass_on(event: Event) -> None:
            if isinstance(event, Ended):
                port.close()
            on_event(event)

        gang = Gang(
            births,
            partial(START_METHODS[plan.start_method], prepare=plan.prepare),
            pass_on,
            payload=plan.payload,
            stop_on_failure=plan.stop_on_failure,
            grace=plan.grace,
            timeout=plan.timeout,
        )
        log_dir = os.path.dirname(os.path.dirname(logs.stdouts[0]))
        on_event(Launched(plan.nprocs, logs.stdouts, logs.stderrs, log_dir, time.monotonic()))
        gang.start()
        return LocalRanks(gang, plan.grace)


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
    """Return what ``torchrun`` of torch 2.13 sets for a single-node job (its LocalElasticAgent)."""
    size, number = str(plan.nprocs), str(rank)
    variables = {
        "RANK": number,
        "LOCAL_RANK": number,
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": "1",
        "ROLE_NAME": "default",
        "ROLE_RANK": number,
        "ROLE_WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_RUN_ID": plan.run_id,
        "TORCHELASTIC_USE_AGENT_STORE": "False",
    }
    if "TORCH_NCCL_ASYNC_ERROR_HANDLING" not in os.environ:
        variables["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "1"
    return variables


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError(
            "the notebook's working directory was removed: os.chdir() to one that exists, then launch again"
        ) from None
