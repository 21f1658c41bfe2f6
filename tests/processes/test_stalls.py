"""Which ranks do nothing: told from what their processes use and write, with clocks that the test sets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nblaunch.events import (
    Asked,
    Event,
    Exited,
    Finished,
    QuestionKind,
    QuestionWithdrawn,
    Raised,
    Stalled,
    Started,
    Straggling,
)
from nblaunch.processes.watching import stalls
from nblaunch.processes.watching.sampling import cpu_seconds, family
from nblaunch.processes.watching.stalls import StallWatch


class Used:
    """What the ranks' processes have used, as the test says."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}

    def __call__(self, pid: int) -> float:
        return self.seconds.get(pid, 0.0)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Used:
    made = Used()
    monkeypatch.setattr(stalls, "cpu_seconds", made)
    monkeypatch.setattr(stalls, "family", lambda pid: [pid])
    return made


def watch(tmp_path: Path, nprocs: int = 3, stall: float = 60.0, straggler: float = 0.0) -> StallWatch:
    made = StallWatch({rank: [str(tmp_path / f"{rank}.log")] for rank in range(nprocs)}, stall, straggler)
    for rank in range(nprocs):
        made.note(Started(rank, 100 + rank, 0.0))
    return made


def told(made: StallWatch, now: float) -> list[Event]:
    return list(made.look(now))


def test_ranks_that_neither_compute_nor_write(tmp_path: Path, used: Used) -> None:
    made = watch(tmp_path)
    for now in range(5, 60, 5):
        used.seconds[100] = now / 2  # rank 0 computes
        (tmp_path / "1.log").write_bytes(b"." * now)  # rank 1 writes
        assert told(made, float(now)) == []
    used.seconds[100] = 30.0
    (tmp_path / "1.log").write_bytes(b"." * 60)
    assert told(made, 60.0) == [Stalled((2,), 60.0, 60.0)]
    used.seconds[100] = 32.5
    (tmp_path / "1.log").write_bytes(b"." * 65)
    assert told(made, 65.0) == []  # said once
    used.seconds[102] = 1.0
    assert told(made, 70.0) == [Stalled((), 0.0, 70.0)]


def test_a_thread_that_looks_around_is_no_work(tmp_path: Path, used: Used) -> None:
    made = watch(tmp_path, 1)
    for now in range(5, 65, 5):
        used.seconds[100] = now * 0.004
        events = told(made, float(now))
    assert events == [Stalled((0,), 60.0, 60.0)]


def test_ranks_that_have_reported_are_at_work_no_more(tmp_path: Path, used: Used) -> None:
    made = watch(tmp_path)
    made.note(Finished(0, bytearray(), 1.0))
    made.note(Raised(1, "ValueError: x", "", 1.0, 1.0, held=True))
    made.note(Exited(2, 1, None, False, 1.0))
    assert told(made, 60.0) == [Stalled((1,), 60.0, 60.0)]
    made.note(Raised(1, "ValueError: x", "", 61.0, 61.0))
    assert told(made, 62.0) == [Stalled((), 0.0, 62.0)]


def test_ranks_that_wait_for_a_person_are_at_work(tmp_path: Path, used: Used) -> None:
    made = watch(tmp_path, 1)
    for number in (1, 2):
        made.note(Asked(0, number, QuestionKind.LINE, "name? ", "", "", 0, 1.0))
    made.answered(0, 1)
    assert told(made, 70.0) == []
    made.note(QuestionWithdrawn(0, 2, 70.0))
    assert told(made, 129.0) == []
    assert told(made, 130.0) == [Stalled((0,), 60.0, 130.0)]


def test_those_that_others_have_left_behind(tmp_path: Path, used: Used, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    made = watch(tmp_path, 4, stall=0, straggler=30.0)
    assert told(made, 99.0) == []
    made.note(Finished(2, bytearray(), 100.0))
    assert told(made, 129.0) == []
    assert told(made, 130.0) == [Straggling((0, 1, 3), 30.0, 130.0)]
    assert told(made, 190.0) == []  # once, until another one finishes
    made.note(Finished(0, bytearray(), 200.0))
    assert told(made, 300.0) == [Straggling((1, 3), 200.0, 300.0)]


def test_nothing_is_told_where_nothing_is_asked_for(tmp_path: Path, used: Used) -> None:
    made = watch(tmp_path, stall=0, straggler=0)
    made.note(Finished(0, bytearray(), 1.0))
    assert told(made, 1e9) == []


@pytest.mark.parametrize(("stall", "straggler", "period"), [(60, 60, 5.0), (2, 60, 0.25), (0, 8, 1.0), (0, 0, 0.625)])
def test_it_looks_often_enough(stall: float, straggler: float, period: float) -> None:
    assert StallWatch({}, stall, straggler).period == period


@pytest.fixture
def family_at_work() -> Iterator[int]:
    """Give the pid of a process that waits for a child of its own, which computes."""
    source = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(1, flush=True)\\nwhile True: pass'])"
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_rank_that_waits_for_its_own_children_is_at_work(tmp_path: Path, family_at_work: int) -> None:
    made = StallWatch({0: []}, 60.0, 0.0)
    made.note(Started(0, family_at_work, 0.0))
    told(made, 0.0)
    # an hour on the test's clock, and as long on the machine's until the child has used a second in it
    while sum(map(cpu_seconds, family(family_at_work))) < 1.0:
        continue
    assert told(made, 61.0) == []
