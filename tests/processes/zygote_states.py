"""How the tests of zygotes launch, and look at what a launch leaves behind for the next one."""

from __future__ import annotations

import select
from typing import Any

from nblaunch.engines.local import LocalEngine
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.processes.starting.forkserver_connection import Connection
from nblaunch.processes.starting.zygotes import ZYGOTES
from nblaunch.runs.run import Run
from tests.processes.targets import LIMIT

WHO = "import os\n(os.getpid(), os.getppid())"


def start(source: str, nprocs: int = 1, *, preload: tuple[str, ...] = (), engine: Any = None, **options: Any) -> Run:
    """Launch source text without a notebook, and return the run when it has ended."""
    engine = engine or LocalEngine(preload)
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), quiet=True, engine=engine, **options)


def ask(source: str, nprocs: int = 1, **options: Any) -> dict[int, Any]:
    """Launch source text and return the values of a run that succeeds."""
    run = start(source, nprocs, **options)
    run.raise_for_failures()
    return run.results


def ahead() -> Connection:
    """Return the forkserver that was ordered ahead, when it has said hello."""
    waiting = ZYGOTES._processes[-1].ahead
    assert waiting is not None, "nothing was ordered ahead"
    connection = waiting.connection
    if not connection._greeted:
        assert select.select([connection.server], [], [], LIMIT)[0], "the forkserver does not say hello"
        connection.hear()
    return connection


def spares() -> list[int]:
    """Return the process ids of the ranks that wait for the next launch."""
    return [pid for pid, _ in ahead().spares]


def zygote_pids() -> list[int]:
    """Return the process ids of all zygotes, the one used last first."""
    return [state["pid"] for state in ZYGOTES.state()]


def report() -> dict[str, Any]:
    """Return what the zygote that was used last has reported."""
    found: dict[str, Any] = ZYGOTES.state()[0]
    return found
