"""Runs whose logs lie where this process has no path to: all that is shown and kept of them comes through the door."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import nblaunch
from nblaunch.engines.base import Plan
from nblaunch.engines.local import LocalEngine
from nblaunch.engines.local_ranks import LocalRanks
from nblaunch.events import Ended, Event, Launched, Raised, Restarting, Started
from nblaunch.logs.reader import LogReader
from nblaunch.panel.record import record
from nblaunch.panel.state import RunSummary
from tests.logs.readers import Elsewhere, logs_in
from tests.panel.test_record import Played


class FarRanks(LocalRanks):
    """Ranks whose logs lie elsewhere."""

    def logs(self, attempt: int) -> LogReader:
        """Return who reads them."""
        return Elsewhere(super().logs(attempt), attempt)


class FarEngine(LocalEngine):
    """An engine whose ranks have their logs elsewhere."""

    def prepare(self, plan: Plan, on_event: Callable[[Event], None]) -> FarRanks:
        """Make them ready."""
        return FarRanks(plan, self._preparation(plan.prepare, plan.rehearse, plan.payload), on_event)


FAILING = """
import os, sys
print("attempt", os.environ["TORCHELASTIC_RESTART_COUNT"], "of rank", rank)
print("a word", file=sys.stderr)
if rank == 1:
    raise ValueError("bad")
"""


def test_a_run_with_logs_elsewhere_is_shown_and_kept(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = nblaunch.launch(
        FAILING, 2, max_restarts=1, on_failure="continue", log_dir=str(tmp_path), panel="text", engine=FarEngine()
    )
    assert (run.status, run.logs.path, run.logs[1].path) == ("failed", "/on/node7/attempt_1", "/on/node7/attempt_1/1")
    for attempt, made in enumerate(run.attempts):
        assert made.logs[0].stdout == f"attempt {attempt} of rank 0\n"
        failure = made.failures[1]
        assert failure.stdout_tail == f"attempt {attempt} of rank 1"
        assert failure.stderr_tail.splitlines()[0] == "a word"
        # what it holds has come, although it lies there
        assert failure.error_file == f"/on/node7/attempt_{attempt}/1/error.json"
        assert str(failure.message) == "ValueError: bad"
        assert isinstance(failure.error_file_data["message"], dict)
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == [
        f"[{rank}] attempt {attempt} of rank {rank}" for rank in (0, 1) for attempt in (0, 1)
    ]
    assert err.count("] a word\n") == 4


@pytest.mark.parametrize(("nprocs", "folder"), [(1, "/on/node7/attempt_0/0"), (2, "/on/node7/attempt_0")])
def test_a_record_names_where_they_are(tmp_path: Path, nprocs: int, folder: str) -> None:
    run = Played(tmp_path, nprocs, Elsewhere(logs_in(tmp_path, nprocs), 0))
    for rank in range(nprocs):
        run.write(rank, "".join(f"{number} {'x' * 100}\n" for number in range(40_000)))
    _, text = run.finish()
    assert re.search(rf"4.3 MB of output( each)?, the last [\d,]+ lines of it; all of it in {folder}\n", text)
    assert f"39999 {'x' * 100}" in text


@pytest.mark.parametrize("refused", ["", "no more processes"])
def test_the_logs_that_are_named_are_those_of_the_attempt_that_counts(tmp_path: Path, refused: str) -> None:
    again = tmp_path / "again"
    again.mkdir()
    run = Played(tmp_path, 1, Elsewhere(logs_in(tmp_path, 1), 0))
    run.write(0, "".join(f"{number} {'x' * 100}\n" for number in range(40_000)))
    run.note(Raised(0, "ValueError: bad", "", 101.0, 101.0), Restarting(1, 1, 101.1))
    run.arrivals.go_on(Elsewhere(logs_in(again, 1), 1))
    run.note(Launched(1, 101.2, 1))
    if not refused:
        run.note(Started(0, 1, 101.3))
    run.note(Ended(101.5, refused=refused))
    _, text = record(run.state, RunSummary("failed", ""), run.arrivals)
    assert f"; all of it in /on/node7/attempt_{0 if refused else 1}/0\n" in text
