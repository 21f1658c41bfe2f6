"""Interrupts that hit a finalizer, where the interpreter would lose them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nblaunch.engines.base import Plan, Ranks
from nblaunch.engines.local import LocalEngine
from nblaunch.engines.local_ranks import LocalRanks
from nblaunch.events import Captured, Event
from nblaunch.interrupts import MAX_WAIT_SLICE, lost_interrupts_repeated
from nblaunch.launching.session import Session, launch
from nblaunch.launching.source import Notebook
from nblaunch.runs.attempt_recorder import AttemptRecorder
from nblaunch.runs.recorder import Recorder
from nblaunch.runs.run import Run
from tests.processes.targets import LIMIT


class _Interrupted:
    """Interrupts the main thread while that finalizes it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def _interrupt_in_a_callback() -> None:
    kept = _Subject()
    reference = weakref.ref(kept, lambda _: signal.raise_signal(signal.SIGINT))
    del kept
    assert reference() is None


class _Subject:
    pass


@pytest.mark.parametrize("lose", [_Interrupted, _interrupt_in_a_callback], ids=["__del__", "weakref"])
def test_a_lost_interrupt_comes_again(lose: Callable[[], object]) -> None:
    hook = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), lost_interrupts_repeated():
        lose()
        while True:
            threading.Event().wait(MAX_WAIT_SLICE)
    assert sys.unraisablehook is hook


def test_a_lost_interrupt_comes_again_though_the_hook_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(threading.Thread):
        def start(self) -> None:
            super().start()
            # on a busy machine the new thread goes on for long before the one that starts it does
            self.join(0.2)

    with pytest.raises(KeyboardInterrupt), lost_interrupts_repeated():
        monkeypatch.setattr(threading, "Thread", Slow)
        _Interrupted()
        monkeypatch.undo()
        while True:
            threading.Event().wait(MAX_WAIT_SLICE)


def test_other_exceptions_of_finalizers_are_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    with lost_interrupts_repeated():
        Broken()
    assert [hooked.exc_type for hooked in told] == [ValueError]


def test_a_hook_that_was_set_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    with lost_interrupts_repeated():
        sys.unraisablehook = later = lambda _: None
    assert sys.unraisablehook is later


class _InterruptedEngine(LocalEngine):
    """Has an interrupt come in a finalizer at the moment when all ranks are started."""

    def prepare(self, plan: Plan, on_event: Callable[[Any], None]) -> Any:
        ranks: Ranks = super().prepare(plan, on_event)
        start = ranks.start

        def start_and_lose() -> None:
            start()
            _Interrupted()

        ranks.start = start_and_lose  # type: ignore[method-assign]
        return ranks


def test_a_launch_hears_an_interrupt_that_hits_a_finalizer() -> None:
    with pytest.raises(KeyboardInterrupt):
        launch(
            "import threading\nthreading.Event().wait()",
            2,
            engine=_InterruptedEngine(),
            notebook=Notebook({}),
            start_method="fork",
            panel="none",
        )


class _NeverRebuilt(Exception):
    """Does not get rebuilt in the process that the test runs in."""

    home = os.getpid()
    begun = threading.Event()
    go_on = threading.Event()

    def __init__(self) -> None:
        super().__init__()
        self.state = "to be set"

    def __setstate__(self, state: object) -> None:
        if os.getpid() == self.home:
            self.begun.set()
            self.go_on.wait()


class _Runs(list[Run]):
    def __init__(self) -> None:
        super().__init__()
        self.one_more = threading.Event()
        self.recorders: list[Recorder] = []


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Runs]:
    """The runs that were interrupted, `_NeverRebuilt` made ready for use."""
    interrupt, begin, found = Run.interrupt, Recorder.belongs_to, _Runs()

    def noted(run: Run) -> None:
        interrupt(run)
        found.append(run)
        found.one_more.set()

    def begun(recorder: Recorder, *others: Any) -> None:
        begin(recorder, *others)
        found.recorders.append(recorder)

    monkeypatch.setattr(Run, "interrupt", noted)
    monkeypatch.setattr(Recorder, "belongs_to", begun)
    _NeverRebuilt.begun.clear()
    _NeverRebuilt.go_on.clear()
    yield found
    _NeverRebuilt.go_on.set()
    # the folder of their logs goes with them
    found.clear()
    found.recorders.clear()


@contextmanager
def _pressing(*moments: threading.Event) -> Iterator[None]:
    """Interrupt this process at each of these moments, if they come."""

    def press() -> None:
        for moment in moments:
            if not moment.wait(LIMIT):
                return  # what is tested has failed, and the next tests are not to be interrupted
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _launch_what_is_never_rebuilt(how: str, gate: Path, **options: Any) -> None:
    def work() -> object:
        while not gate.exists():
            threading.Event().wait(0.01)
        if os.environ["RANK"] == "0":
            return 0
        if how == "raised":
            raise _NeverRebuilt
        return _NeverRebuilt()

    launch(work, 2, start_method="fork", panel="none", on_failure="continue", **options)


def _open_when_started(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow = Session.follow

    def followed(session: Session, at_once: bool = False) -> None:
        gate.touch()
        follow(session, at_once)

    monkeypatch.setattr(Session, "follow", followed)


def _check(run: Run) -> None:
    assert (run.status, run.wait(0)) == ("interrupted", True)
    assert sorted([*run.results, *run.failures]) == [0, 1]
    assert str(run.failures[1].message).startswith(
        "what rank 1 has sent was still being rebuilt in the notebook when that was interrupted; code of its class, "
        "__setstate__ for example, runs then"
    )
    results, failures = dict(run.results), dict(run.failures)
    _NeverRebuilt.go_on.set()
    assert run._ranks is not None
    run._ranks.join()
    assert (run.status, run.results, run.failures) == ("interrupted", results, failures)


@pytest.mark.parametrize("how", ["returned", "raised"])
def test_what_never_gets_rebuilt_is_left_at_the_second_interrupt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runs: _Runs, how: str
) -> None:
    _open_when_started(tmp_path / "gate", monkeypatch)
    with _pressing(_NeverRebuilt.begun, runs.one_more), pytest.raises(KeyboardInterrupt):
        _launch_what_is_never_rebuilt(how, tmp_path / "gate")
    _check(runs[0])


def test_what_never_gets_rebuilt_is_left_though_a_rank_was_at_work_at_the_second_interrupt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runs: _Runs
) -> None:
    def work() -> object:
        while os.environ["RANK"] == "0":
            threading.Event().wait()
        return _NeverRebuilt()

    with _pressing(_NeverRebuilt.begun, runs.one_more), pytest.raises(KeyboardInterrupt):
        launch(work, 2, start_method="fork", panel="none", grace=60.0)
    _check(runs[0])


def test_what_never_gets_rebuilt_while_the_ranks_start_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runs: _Runs
) -> None:
    _open_when_started(tmp_path / "gate", monkeypatch)
    with _pressing(_NeverRebuilt.begun, runs.one_more), pytest.raises(KeyboardInterrupt):
        _launch_what_is_never_rebuilt("raised", tmp_path / "gate", max_restarts=3)
    run = runs[0]
    assert (run.status, len(run.attempts), sorted([*run.results, *run.failures])) == ("interrupted", 1, [0, 1])
    pids, logs = run.pids, run.logs.path
    _NeverRebuilt.go_on.set()
    assert run._ranks is not None
    run._ranks.join()
    assert (run.status, len(run.attempts), run.pids, run.logs.path) == ("interrupted", 1, pids, logs)
    assert runs.recorders[0]._sent is None


def test_what_never_gets_rebuilt_while_the_launch_is_being_interrupted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runs: _Runs
) -> None:
    joining = threading.Event()
    start, join = LocalRanks.start, LocalRanks.join

    def start_until_interrupted(ranks: LocalRanks) -> None:
        start(ranks)
        (tmp_path / "gate").touch()
        _NeverRebuilt.begun.wait()
        raise KeyboardInterrupt

    def noted_join(ranks: LocalRanks, timeout: float | None = None) -> bool:
        joining.set()
        return join(ranks, timeout)

    monkeypatch.setattr(LocalRanks, "start", start_until_interrupted)
    monkeypatch.setattr(LocalRanks, "join", noted_join)
    with _pressing(joining), pytest.raises(KeyboardInterrupt):
        _launch_what_is_never_rebuilt("returned", tmp_path / "gate")
    _check(runs[0])


def test_an_interrupt_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    consume = Session._consume

    def interrupted(session: Session, event: Event) -> None:
        if isinstance(event, Captured):
            raise KeyboardInterrupt
        consume(session, event)

    monkeypatch.setattr(Session, "_consume", interrupted)
    # it used to wait for ever for the end of ranks that nobody had started
    with pytest.raises(KeyboardInterrupt):
        launch(lambda: 1, 2, start_method="fork", panel="none")


def test_an_interrupt_while_a_launch_is_given_up(monkeypatch: pytest.MonkeyPatch, runs: _Runs) -> None:
    conclude = AttemptRecorder.conclude

    def interrupted(ranks: LocalRanks) -> None:
        raise KeyboardInterrupt

    def interrupted_again(attempt: AttemptRecorder) -> None:
        signal.raise_signal(signal.SIGINT)
        conclude(attempt)

    monkeypatch.setattr(LocalRanks, "start", interrupted)
    monkeypatch.setattr(AttemptRecorder, "conclude", interrupted_again)
    with pytest.raises(KeyboardInterrupt):
        launch(lambda: 1, 2, start_method="fork", panel="none")
    (run,) = runs
    assert (run.status, sorted(run.failures), run.wait(0)) == ("interrupted", [0, 1], True)
