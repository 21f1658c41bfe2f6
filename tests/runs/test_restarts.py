"""``--max-restarts``: all ranks once more after a failure, and what is kept of each attempt."""

from __future__ import annotations

import gc
import re
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nblaunch.engines.base import Plan
from nblaunch.engines.local import LocalEngine
from nblaunch.engines.restarts import RestartedRanks
from nblaunch.events import Ended, Ending, Event, Exited, Finished, LastWord, Launched, Restarting, Started
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.logs.run_logs import Logs
from nblaunch.messages.work import VALUE, Work
from nblaunch.payload import pack, pack_named
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.starting.start_methods import START_METHODS
from nblaunch.processes.starting.zygotes import Zygote
from nblaunch.runs.attempt_recorder import AttemptRecorder
from nblaunch.runs.failures import RanksFailed
from nblaunch.runs.recorder import Recorder
from nblaunch.runs.registry import running
from nblaunch.runs.run import Run

FAIL_TWICE = """import os
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
assert os.environ["TORCHELASTIC_MAX_RESTARTS"] == "3"
print("attempt", attempt)
if attempt < 2 and rank == 1:
    raise ValueError(f"attempt {attempt}, port {os.environ['MASTER_PORT']}")
attempt, os.environ["MASTER_PORT"]
"""


def run_cell(source: str, nprocs: int = 2, **options: Any) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), quiet=True, **options)


@pytest.mark.parametrize("start_method", ["zygote", "forkserver", "spawn", "fork"])
def test_until_it_succeeds(tmp_path: Path, start_method: str) -> None:
    run = run_cell(FAIL_TWICE, max_restarts=3, log_dir=str(tmp_path), start_method=start_method)
    assert run.ok
    assert [value[0] for value in run.results.values()] == [2, 2]
    first, second, last = run.attempts
    assert [attempt.number for attempt in run.attempts] == [0, 1, 2]
    assert last.failures == {} == run.failures
    ports = set()
    for attempt in (first, second):
        assert attempt.root_cause is not None
        error = attempt.root_cause.exception
        assert isinstance(error, ValueError)
        text, _, port = str(error).rpartition(" ")
        assert text == f"attempt {attempt.number}, port"
        ports.add(port)
        assert attempt.logs[1].stdout == f"attempt {attempt.number}\n"
        assert Path(attempt.logs[1].path).parts[-2:] == (f"attempt_{attempt.number}", "1")
    assert len(ports | {run.results[0][1]}) == 3
    assert run.logs[1].stdout == "attempt 2\n"
    assert repr(first).startswith("<Attempt 0: rank 1 failed: ValueError: attempt 0, port ")
    assert repr(last) == "<Attempt 2: finished>"


def test_no_more_often_than_is_allowed() -> None:
    run = run_cell("raise ValueError('always')", max_restarts=1)
    assert run.status == "failed"
    assert [len(attempt.failures) for attempt in run.attempts] == [2, 2]
    assert run.failures == run.attempts[-1].failures


def test_ranks_that_had_finished_start_again_too() -> None:
    source = (
        "import os, threading\n"
        "if rank and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0': os._exit(3)\n"
        "os.environ['TORCHELASTIC_RESTART_COUNT']"
    )
    run = run_cell(source, max_restarts=1, on_failure="continue")
    assert run.results == {0: "1", 1: "1"}
    assert [failure.exitcode for failure in run.attempts[0].failures.values()] == [3]


def test_a_timeout_is_for_all_attempts_together() -> None:
    run = run_cell("import threading\nthreading.Event().wait()", max_restarts=5, timeout=0.3, grace=0.1)
    assert run.status == "timed out"
    assert len(run.attempts) == 1
    assert "still running after the timeout of 0.3 s" in str(run.failures[0].message)


THEN_HANG = """import os, threading
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
if attempt < 3 and rank == 0:
    threading.Event().wait()
if attempt < 2: raise ValueError("bad data")
if attempt == 2: os._exit(3)
threading.Event().wait()
"""


def test_a_timeout_after_restarts_tells_what_failed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    working = RestartedRanks._start_again

    def start_again(self: RestartedRanks) -> str | None:
        if self._plan.attempt == 3:  # however long the others took
            self._deadline = time.monotonic() + 0.2
        return working(self)

    monkeypatch.setattr(RestartedRanks, "_start_again", start_again)
    run = run_cell(THEN_HANG, max_restarts=9, timeout=1000.0, grace=0.1)
    assert run.status == "timed out"
    assert len(run.attempts) == 4
    pid = run.attempts[2].pids[1]
    before = ["attempts 0-1: rank 1, ValueError: bad data", f"attempt 2: rank 1 (pid {pid}) exited with code 3"]
    assert [re.sub(r" \(.*, line 5\)$", "", line) for line in run.earlier] == before
    error = RanksFailed(run)
    assert f"What had failed before:\n  {run.earlier[0]}\n  {run.earlier[1]}" in error._text(coloured=False)
    assert str(error).endswith(f"after the timeout of 1000 s; before that, {'; '.join(run.earlier)}")
    assert run.summary().endswith(f"after the timeout of 1000 s, before that, {'; '.join(run.earlier)}")


def test_many_kinds_of_failures_of_attempts_are_counted() -> None:
    run = run_cell("import os\nraise ValueError(os.environ['TORCHELASTIC_RESTART_COUNT'])", 1, max_restarts=9)
    assert [line.partition(" (")[0] for line in run.earlier] == [
        *(f"attempt {number}: rank 0, ValueError: {number}" for number in range(6)),
        "attempts 6-8: in other ways, see run.attempts",
    ]
    assert run_cell("rank").earlier == []


class _Gate:
    """Holds the events of a run at a restart until the test lets them go on."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.there = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Restarting):
            self.there.set()
            assert self.go_on.wait(60)


def failing(place: Path, **options: Any) -> Plan:
    return Plan(
        run_id="run_test",
        nprocs=2,
        entry="nblaunch.rank.main:run",
        prepare="nblaunch.rank.main:prepare",
        payload=(pack(Work(2, cell="1 / 0")), pack_named({})),
        log_dir=str(place),
        max_restarts=1,
        **options,
    )


def test_events_of_an_attempt_follow_those_of_the_one_before(tmp_path: Path) -> None:
    gate = _Gate()
    gate.go_on.set()
    ranks = RestartedRanks(LocalEngine(), failing(tmp_path), gate)
    ranks.start()
    assert ranks.join(60)
    kinds = [type(event) for event in gate.events if isinstance(event, (Launched, Started, Exited, Restarting, Ended))]
    attempt = [Launched, Started, Started, Exited, Exited]
    assert kinds == [*attempt, Restarting, *attempt, Ended]
    # what every rank was sent are the user's arrays
    assert ranks._plan.payload == ()


def test_a_run_that_is_stopped_while_it_restarts_ends(tmp_path: Path) -> None:
    gate = _Gate()
    ranks = RestartedRanks(LocalEngine(), failing(tmp_path), gate)
    ranks.start()
    assert gate.there.wait(60)
    ranks.stop()
    gate.go_on.set()
    assert ranks.join(60)
    kinds = [type(event) for event in gate.events]
    assert kinds[kinds.index(Restarting) :] == [Restarting, Ended]


def test_a_restart_that_the_system_refuses_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = _Gate()
    ranks = RestartedRanks(LocalEngine(), failing(tmp_path), gate)
    ranks.start()
    assert gate.there.wait(60)

    def refuse(*_: object) -> int:
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr(Zygote, "start", refuse)
    gate.go_on.set()
    assert ranks.join(60)
    kinds = [type(event) for event in gate.events]
    assert kinds[kinds.index(Restarting) :] == [Restarting, Launched, Ending, Ended]


@pytest.mark.parametrize("number", [-1, 1.5, True, None])
def test_a_number_of_restarts_that_is_none(number: Any) -> None:
    with pytest.raises(ValueError, match="max_restarts is a whole number, 0 or more, not "):
        run_cell("1", max_restarts=number)


class _Refusing(Zygote):
    """Refuses every rank of a restart."""

    def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        if rank_spec.env["TORCHELASTIC_RESTART_COUNT"] != "0":
            raise OSError(28, "No space left on device")
        return super().start(rank_spec, descriptors, inherited)


def test_a_restart_that_is_refused_does_not_hide_what_had_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(START_METHODS, "zygote", _Refusing)
    run = run_cell("raise ValueError('the real failure')", max_restarts=2)
    assert run.status == "failed"
    assert [len(attempt.failures) for attempt in run.attempts] == [2]
    assert run.root_cause is not None
    assert str(run.root_cause.exception) == "the real failure"
    text = RanksFailed(run)._text(coloured=False)
    assert "the real failure" in text
    assert "Restart 1 was not possible: " in text
    assert "No space left on device" in text


ONE_OF_TWO = "loss = 0.5\nif rank:\n    raise ValueError('the real failure')\n'kept'"


def test_a_restart_that_is_refused_keeps_the_values_that_had_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(START_METHODS, "zygote", _Refusing)
    run = run_cell(ONE_OF_TWO, max_restarts=1, on_failure="continue", collect=["loss"])
    assert run.results == {0: "kept"}
    assert run.collected == {"loss": {0: 0.5}}
    assert list(run.failures) == [1]
    assert "No space left on device" in run.refused


def test_a_stop_while_a_restart_starts_keeps_the_values_that_had_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Zygote):
        def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
            if rank_spec.env["TORCHELASTIC_RESTART_COUNT"] != "0":
                (run,) = running()
                run.stop()
            return super().start(rank_spec, descriptors, inherited)

    monkeypatch.setitem(START_METHODS, "zygote", Stopped)
    run = run_cell(ONE_OF_TWO, max_restarts=1, on_failure="continue")
    assert run.status == "stopped"
    covered = sorted([*run.results, *run.failures])
    assert covered == [0, 1]


def test_values_go_when_the_ranks_have_started_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    concluded, conclude = [], AttemptRecorder.conclude

    def noted(recorder: AttemptRecorder) -> None:
        concluded.append(recorder)
        conclude(recorder)

    monkeypatch.setattr(AttemptRecorder, "conclude", noted)
    source = (
        "import os\nif rank and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n    os._exit(3)\n"
        "f\"of attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}\""
    )
    run = run_cell(source, max_restarts=1, on_failure="continue")
    assert run.results == {0: "of attempt 1", 1: "of attempt 1"}
    assert [(attempt._reports, attempt.values) for attempt in concluded] == [({}, {}), ({}, {})]


def test_a_refusal_after_the_values_went_leaves_the_last_attempt() -> None:
    recorder = Recorder(2, Logs(None))
    run = recorder.run

    def tell(*events: Event) -> None:
        for event in events:
            recorder.note(event)

    started = [Started(rank, 100 + rank, 1.0) for rank in range(2)]
    value = Finished(0, bytearray(bytes(pack_named({VALUE: "early"}))), 2.0)
    tell(*started, value, Exited(0, 0, LastWord.VALUE, False, 2.0), Exited(1, 3, None, False, 2.0))
    tell(Restarting(1, 1, 3.0), *started, Finished(0, bytearray(bytes(pack_named({VALUE: "late"}))), 4.0))
    tell(Exited(0, 0, LastWord.VALUE, True, 5.0), Exited(1, -9, None, True, 5.0), Ended(6.0, None, "no more processes"))
    assert run.results == {0: "late"}
    assert list(run.failures) == [1]
    assert run.refused == "restart 1 was not possible: no more processes"
    assert [attempt.number for attempt in run.attempts] == [0, 1]


def test_a_launch_that_is_refused_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Zygote, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        if rank_spec.rank:
            raise OSError(11, "no more processes")
        return start(self, rank_spec, descriptors, inherited)

    start = Zygote.start
    monkeypatch.setattr(Zygote, "start", refuse)
    with pytest.raises(OSError, match="no more processes"):
        run_cell("import os\nos._exit(3)", 2, max_restarts=3)


def test_arrays_go_with_the_last_attempt() -> None:
    data = np.zeros(10_000_000, np.uint8)
    kept = weakref.ref(data)
    run = launch("int(data[rank])", 2, notebook=Notebook({"__name__": "__main__", "data": data}), quiet=True)
    assert run.ok
    del data
    gc.collect()
    assert kept() is None
    assert repr(run)


class _RefusingWithoutAWord(Zygote):
    def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        if rank_spec.env["TORCHELASTIC_RESTART_COUNT"] != "0":
            raise MemoryError
        return super().start(rank_spec, descriptors, inherited)


@pytest.mark.parametrize(
    ("method", "why"), [(_Refusing, "No space left on device"), (_RefusingWithoutAWord, "MemoryError")]
)
def test_after_a_refused_restart_all_is_that_of_the_attempt_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: type[Zygote], why: str
) -> None:
    monkeypatch.setitem(START_METHODS, "zygote", method)
    source = f"from IPython.display import HTML, display\nprint('printed')\ndisplay(HTML('<b>shown</b>'))\n{ONE_OF_TWO}"
    run = run_cell(source, max_restarts=1, on_failure="continue", log_dir=str(tmp_path))
    assert why in run.refused
    assert (run.results, list(run.failures)) == ({0: "kept"}, [1])
    assert run.logs[0].stdout == "printed\n"
    assert run.logs.path.endswith("attempt_0")
    assert [output.data["text/html"] for output in run.outputs[0]] == ["<b>shown</b>"]
