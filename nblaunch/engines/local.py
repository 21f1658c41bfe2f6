"""The engine for this machine: what is checked before anything starts, and a zygote that is made ready."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from nblaunch.engines.base import Plan
from nblaunch.engines.local_ranks import LocalRanks
from nblaunch.events import Event
from nblaunch.payload import Packed, require_memory_for
from nblaunch.processes.starting.base import Preparation
from nblaunch.processes.starting.hash_seed import with_hash_seed
from nblaunch.processes.starting.preloads import learn, modules_of_first_use, safe_modules
from nblaunch.processes.starting.start_methods import start_method_named
from nblaunch.processes.starting.zygotes import ZYGOTES

__all__ = ["LocalEngine"]


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
            If there is no such working directory on this machine.
        """
        start_method_named(plan.start_method)
        _check_number(plan.nprocs)
        _check_directory(plan.surroundings.directory)
        require_memory_for(plan.payload)
        learn(modules_of_first_use(lambda text: any(packed.mentions(text) for packed in plan.payload)))
        return LocalRanks(plan, self._preparation(plan.prepare, plan.rehearse, plan.payload), on_event)

    def get_ready(
        self, prepare: str, rehearse: str, among: AbstractSet[str] | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Have a zygote made in the background, if there is none that has what this process has imported.

        See `nblaunch.engines.base.Engine` for the parameters.

        Raises
        ------
        OSError
            If the system refuses the process.
        """
        variables = with_hash_seed(os.environ if env is None else env)
        ZYGOTES.get_ready(self._preparation(prepare, rehearse, among=among), variables, tuple(sys.path))

    def _preparation(
        self, prepare: str, rehearse: str, payload: Sequence[Packed] = (), among: AbstractSet[str] | None = None
    ) -> Preparation:
        modules = safe_modules(self.preload, among)
        used = {package for package in _packages(modules) if any(packed.mentions(package) for packed in payload)}
        return Preparation(
            prepare,
            rehearse,
            modules,
            tuple(name for name in modules if name.partition(".")[0] in used) if used else (),
            self.spares,
            self.spare_seconds,
        )


def _check_directory(directory: str) -> None:
    if not os.path.isdir(directory):
        raise FileNotFoundError(
            f"the ranks are to work in {directory}, but there is no such directory on this machine "
            f"({os.uname().nodename}): make it there, or launch from a directory that all machines have"
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
