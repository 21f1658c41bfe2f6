"""What the notebook of a chaotic run says about it: imported by the kernel, by name; all of it literals."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

from nblaunch.logs.run_logs import Logs
from nblaunch.payload import ExceptionStandIn
from nblaunch.runs.attempt import Attempt
from nblaunch.runs.failures import RankFailure
from nblaunch.runs.run import Run

__all__ = ["logs", "of_run"]


def of_run(run: Run) -> dict[str, Any]:
    """Return what came of a run, for the driver to judge."""
    assert run.wait(0), "the run is said to be over and is not"
    return {
        "nprocs": run.nprocs,
        "status": run.status,
        "ok": run.ok,
        "results": {rank: _described(rank, run.attempts[-1].number, value) for rank, value in run.results.items()},
        "failures": {rank: _ending(failure) for rank, failure in run.failures.items()},
        "collateral": sorted(rank for rank, failure in run.failures.items() if failure.collateral),
        "root": None if run.root_cause is None else run.root_cause.rank,
        "pids": run.pids,
        "attempts": [_attempt(run, attempt) for attempt in run.attempts],
        "refused": run.refused,
        # all that a person is shown must work for whatever ranks have raised
        "shown": len(run.summary()) + len(repr(run.failures)) + len(run._repr_html_()) + len(repr(run.attempts)),
    }


def _attempt(run: Run, attempt: Attempt) -> dict[str, Any]:
    failures = attempt.failures
    places = [Path(logs.path).parts[-2:] for logs in attempt.logs.values()]
    assert places == [(f"attempt_{attempt.number}", str(rank)) for rank in attempt.logs], places
    return {
        "number": attempt.number,
        # values of an attempt that was followed by another one are not kept
        "results": {rank: "empty" for rank in range(run.nprocs) if rank not in failures},
        "failures": {rank: _ending(failure) for rank, failure in failures.items()},
        "collateral": sorted(rank for rank, failure in failures.items() if failure.collateral),
        "root": None if attempt.root_cause is None else attempt.root_cause.rank,
        "pids": attempt.pids,
    }


def _described(rank: int, attempt: int, value: object) -> str:
    if value is None or value == {}:
        return "empty"
    assert isinstance(value, dict), value
    if value["attempt"] != attempt:
        return f"of attempt {value['attempt']}"
    data = value["data"]
    edges = {data[0], data[-1]} if data else {rank + 1}
    return str(len(data)) if value["rank"] == rank and edges == {rank + 1} else "of another rank"


def _ending(failure: RankFailure) -> str:
    """Return in a word how a rank ended: the type of its exception, its signal or its exit code."""
    assert failure.summary(), failure
    if isinstance(failure.exception, ExceptionStandIn):
        return failure.exception.type_name
    if failure.exception is not None:
        return type(failure.exception).__name__
    if "never started" in str(failure.message):
        return "never started"
    return failure.signal_name() if failure.exitcode < 0 else f"exit {failure.exitcode}"


def logs() -> tuple[list[str], list[str]]:
    """Return the temporary folders of logs that there are, and those that somebody still refers to."""
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "nblaunch-logs":
            thread.join()
    there = sorted(str(path) for path in Path(os.environ["TMPDIR"]).glob("nblaunch_*"))
    return there, sorted(known.root for known in gc.get_objects() if type(known) is Logs)
