"""The engine for this machine: a gang of local processes, with the variables that ``torchrun`` sets."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nblaunch.engines.base import Plan
from nblaunch.events import Ended, Event, Launched
from nblaunch.payload import Packed, require_memory_for
from nblaunch.processes.api import DefaultLogsSpecs, LogsDest, Std
from nblaunch.processes.child import Birth
from nblaunch.processes.gang import KILL, Gang, Step, escalation
from nblaunch.processes.preloads import safe_modules
from nblaunch.processes.start_methods import start_method_named
from nblaunch.processes.starting import Preparation
from nblaunch.processes.zygotes import ZYGOTES

__all__ = ["LocalEngine", "LocalRanks", "reserve_port"]


class LocalRanks:
    """See `nblaunch.engines.base.Ranks`."""

    def __init__(self, plan: Plan, preparation: Preparation, on_event: Callable[[Event], None]) -> None:
        self._plan = plan
        self._preparation = preparation
        self._on_event = on_event
        self._gang: Gang | None = None

    def start(self) -> None:
        """Start the ranks on this machine."""
        plan = self._plan
        port = reserve_port()

        def pass_on(event: Event) -> None:
            if isinstance(event, Ended):
                port.close()
            self._on_event(event)

        try:
            envs = {rank: _torchrun_variables(plan, rank, port.getsockname()[1]) for rank in range(plan.nprocs)}
            logs = DefaultLogsSpecs(plan.log_dir, redirects=Std.ALL).reify(envs)
            self._gang = Gang(
                _births(plan, envs, logs),
                start_method_named(plan.start_method),
                pass_on,
                preparation=self._preparation,
                payload=plan.payload,
                # a value that has arrived is kept, whatever becomes of the process while it exits
                succeeded=lambda exit_: exit_.reported == "value",
                stop_on_failure=plan.stop_on_failure,
                grace=plan.grace,
                timeout=plan.timeout,
            )
            log_dir = os.path.dirname(os.path.dirname(logs.stdouts[0]))
            self._on_event(Launched(plan.nprocs, logs.stdouts, logs.stderrs, log_dir, time.monotonic()))
            self._gang.start()
        except BaseException:
            port.close()
            raise

    def interrupt(self) -> None:
        """Send SIGINT, then SIGTERM, then SIGKILL, a grace apart."""
        self._end("the run was interrupted", escalation(signal.SIGINT, signal.SIGTERM, grace=self._plan.grace))

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL, a grace apart."""
        self._end("the run was stopped", escalation(signal.SIGTERM, grace=self._plan.grace))

    def kill(self) -> None:
        """Send SIGKILL."""
        self._end("the run was killed", KILL)

    def answer(self, rank: int, number: int, body: bytes) -> None:
        """Answer what a rank has asked."""
        if self._gang is not None:
            self._gang.answer(rank, number, body)

    def sample(self, period: float) -> None:
        """Tell what the ranks use."""
        if self._gang is not None:
            self._gang.sample(period)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no rank is left; tell whether that is so."""
        return self._gang is None or self._gang.join(timeout)

    def _end(self, reason: str, steps: tuple[Step, ...]) -> None:
        if self._gang is not None:
            self._gang.end(reason, steps)


@dataclass(frozen=True)
class LocalEngine:
    """The engine for the machine that the notebook runs on; see `nblaunch.engines.base.Engine`.

    Parameters
    ----------
    preload : tuple of str
        Modules that a zygote imports besides those that this process has imported and that are known to be safe.
    spares : int
        Most ranks that wait for the next launch after a run; 0 is none.
    spare_seconds : float
        Time after which they end if there was none.
    """

    preload: tuple[str, ...] = ()
    spares: int = 16
    spare_seconds: float = 600.0

    def prepare(self, plan: Plan, on_event: Callable[[Event], None]) -> LocalRanks:
        """Check what can be checked before anything starts.

        Raises
        ------
        ValueError
            If there cannot be so many ranks.
        NotEnoughMemory
            If the payload does not fit into the memory that is available.
        FileNotFoundError
            If the working directory is gone.
        """
        start_method_named(plan.start_method)
        _check_number(plan.nprocs)
        _working_directory()
        require_memory_for(plan.payload)
        return LocalRanks(plan, self._preparation(plan.prepare, plan.rehearse, plan.payload), on_event)

    def get_ready(self, prepare: str, rehearse: str) -> None:
        """Have a zygote made in the background, if there is none that has what this process has imported by now.

        Raises
        ------
        OSError
            If the system refuses the process.
        """
        ZYGOTES.get_ready(self._preparation(prepare, rehearse), os.environ, tuple(sys.path))

    def _preparation(self, prepare: str, rehearse: str, payload: Sequence[Packed] = ()) -> Preparation:
        modules = safe_modules(self.preload)
        used = {package for package in _packages(modules) if any(packed.mentions(package) for packed in payload)}
        return Preparation(
            prepare,
            rehearse,
            modules,
            tuple(name for name in modules if name.partition(".")[0] in used) if used else (),
            self.spares,
            self.spare_seconds,
        )


def _check_number(nprocs: int) -> None:
    limits = [
        (resource.getrlimit(resource.RLIMIT_NOFILE)[0], "open files in this process (ulimit -n)"),
        (resource.getrlimit(resource.RLIMIT_NPROC)[0], "processes of this user (ulimit -u)"),
    ]
    with contextlib.suppress(OSError, ValueError):
        limits.append((int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")), "processes in all"))
    most, of_what = min((limit for limit in limits if limit[0] != resource.RLIM_INFINITY), default=(nprocs, ""))
    if nprocs > most:
        raise ValueError(
            f"{nprocs} ranks are more than this machine can run, which allows {most} {of_what}; each rank takes at "
            "least one"
        )


@functools.lru_cache(maxsize=8)  # it is asked for at every launch, of some hundred modules
def _packages(modules: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in modules)


def _births(plan: Plan, envs: dict[int, dict[str, str]], logs: LogsDest) -> list[Birth]:
    environment = os.environ.copy()
    cwd, sys_path, argv = _working_directory(), tuple(sys.path), tuple(sys.argv)
    return [
        Birth(
            rank=rank,
            entry=plan.entry,
            # what the user asks for wins
            env=environment | envs[rank] | dict(plan.env),
            cwd=cwd,
            stdout=logs.stdouts[rank],
            stderr=logs.stderrs[rank],
            sys_path=sys_path,
            argv=argv,
        )
        for rank in range(plan.nprocs)
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
