"""What one attempt hands on to the next, whatever the engine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nblaunch.engines.base import Plan
from nblaunch.engines.local import LocalEngine
from nblaunch.engines.restarts import RestartedRanks, prepare_with_restarts
from nblaunch.events import AllExited, Ended, Event, Exited, Finished, LastWord, Restarting, TimedOut
from tests.engines.test_local import plan


class Noted:
    """Ranks that start nothing, and note what is asked of them."""

    def __init__(self, made: Plan, on_event: Callable[[Event], None]) -> None:
        self.plan = made
        self.tell = on_event
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.calls.append((name, *args))

    def fail(self) -> None:
        """Tell that rank 0 has failed, and that no rank is left."""
        self.tell(Exited(0, 3, None, False, 1.0))
        self.tell(Ended(1.0))


class Noting(LocalEngine):
    """An engine that has `Noted` ranks."""

    def prepare(self, plan: Plan, on_event: Callable[[Event], None]) -> Any:
        """Make them."""
        attempts.append(Noted(plan, on_event))
        return attempts[-1]


attempts: list[Noted] = []


@pytest.fixture(autouse=True)
def no_attempts() -> None:
    attempts.clear()


def start(place: Path, on_event: Callable[[Event], None] = lambda event: None, **options: Any) -> RestartedRanks:
    ranks = RestartedRanks(Noting(), plan("1", place, **{"max_restarts": 2, **options}), on_event)
    ranks.start()
    return ranks


def test_without_restarts_nothing_is_in_between(tmp_path: Path) -> None:
    made = plan("1", tmp_path)
    ranks: object = prepare_with_restarts(Noting(), made, print)
    assert ranks is attempts[0]
    assert attempts[0].tell is print


def test_each_attempt_is_a_plan_of_its_own(tmp_path: Path) -> None:
    events: list[Event] = []
    start(tmp_path, events.append, timeout=100.0)
    attempts[0].fail()
    attempts[1].fail()
    attempts[2].tell(TimedOut((0,), 1.0, 2.0))
    attempts[2].tell(Ended(2.0))
    assert [made.plan.attempt for made in attempts] == [0, 1, 2]
    assert 90 < (attempts[2].plan.timeout or 0) < 100
    # of all attempts together
    assert [event.seconds for event in events if isinstance(event, TimedOut)] == [100.0]
    assert [event.attempt for event in events if isinstance(event, Restarting)] == [1, 2]
    assert sum(isinstance(event, Ended) for event in events) == 1


def test_what_is_held_and_watched_is_so_after_a_restart(tmp_path: Path) -> None:
    ranks = start(tmp_path)
    ranks.sample(1.0)
    ranks.hold()
    attempts[0].fail()
    assert attempts[1].calls == [("sample", 1.0), ("hold",), ("start",)]
    ranks.resume()
    attempts[1].fail()
    assert attempts[2].calls == [("sample", 1.0), ("start",)]


def test_ranks_that_are_resumed_while_they_are_being_held_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = start(tmp_path)
    ranks.hold()

    def hold(made: Noted) -> None:
        ranks.resume()
        made.calls.append(("hold",))

    monkeypatch.setattr(Noted, "hold", hold, raising=False)
    attempts[0].fail()
    assert attempts[1].calls[-2:] == [("resume",), ("start",)]


def test_the_time_for_which_ranks_are_held_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = start(tmp_path, timeout=100.0)
    ranks.hold()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1000.0)
    ranks.resume()
    attempts[0].fail()
    assert 90 < (attempts[1].plan.timeout or 0) <= 101


@pytest.mark.parametrize("order", ["stop", "kill", "interrupt"])
def test_nothing_is_started_after_an_order_to_end(tmp_path: Path, order: str) -> None:
    events: list[Event] = []
    ranks = start(tmp_path, events.append)
    getattr(ranks, order)()
    attempts[0].fail()
    assert len(attempts) == 1
    assert attempts[0].calls == [("start",), (order,)]
    assert isinstance(events[-1], Ended)


@pytest.mark.parametrize("why", [{"ordered": True}, {"refused": "no more processes"}, {"defect": "Traceback"}])
def test_nothing_is_started_after_an_end_that_was_no_failure(tmp_path: Path, why: dict[str, Any]) -> None:
    start(tmp_path)
    attempts[0].tell(Exited(0, 3, None, False, 1.0))
    attempts[0].tell(replace(Ended(1.0), **why))
    assert len(attempts) == 1


def test_a_value_that_is_refused_late_counts_as_a_failure(tmp_path: Path) -> None:
    def note(event: Event) -> None:
        if isinstance(event, AllExited):
            ranks.refuse(0, "no value", 1.0)

    ranks = start(tmp_path, note)
    attempts[0].tell(Finished(0, bytearray(), 1.0))
    attempts[0].tell(Exited(0, 0, LastWord.VALUE, False, 1.0))
    attempts[0].tell(Ended(1.0))
    assert len(attempts) == 2
