"""`nblaunch.events`: values that consumers may keep."""

from __future__ import annotations

import dataclasses
import pickle
from typing import get_args

import pytest

from nblaunch import events
from nblaunch.messages.reports import ErrorReport

SAMPLES = [
    events.Captured({"data": 5}, 0.5),
    events.Launched(2, 1.0, 1, ("node0", "node7")),
    events.Started(0, 77, 2.0),
    events.Finished(0, bytearray(b"secret"), 3.0),
    events.Imported(0, ("torch._dynamo",), 3.1),
    events.Displayed(0, events.DisplayKind.NEW, {"text/plain": "secret"}, {}, "id", 3.5),
    events.Raised(0, "ValueError: x", "secret", 3.6, 3.6, False, "secret"),
    events.GettingReady("sklearn", 3.55),
    events.Refused(0, "ValueError: x", 3.6, 3.65),
    events.Sampled({0: events.Usage(12.5, 1000)}, 3.7),
    events.StacksTaken({0: events.Stack(((events.Frame("secret.py", 1, "f"),),), "S")}, "failure", 3.8),
    events.Stalled((0,), 60.0, 3.9),
    events.Straggling((0,), 60.0, 3.9),
    events.Asked(0, 1, events.QuestionKind.COMMAND, "ipdb> ", "secret", "Cell In[2], line 3", 2, 3.8),
    events.Answered(0, 1, 3.85),
    events.QuestionWithdrawn(0, 1, 3.9),
    events.SessionEnded(0, 2, "secret", False, 3.95),
    events.Exited(0, -9, None, True, 4.0, error_file=events.ErrorFile(b"secret", 3.9)),
    events.TimedOut((1,), 5.0, 5.0),
    events.Ending("a rank failed", 6.0),
    events.Signalled({1: 78}, 15, 6.3),
    events.AllExited(6.4),
    events.Restarting(1, 3, 6.5),
    events.TaskEnded(1, 2.0),
    events.Abandoned(1, 78, 7.0),
    events.Ended(8.0),
]


def test_there_is_a_sample_of_every_event() -> None:
    assert {type(sample) for sample in SAMPLES} == set(get_args(events.Event))
    assert sorted(events.__all__) == sorted(
        [
            "DisplayKind",
            "ErrorFile",
            "Event",
            "Frame",
            "LastWord",
            "QuestionKind",
            "Stack",
            "Usage",
            "shifted",
            *(type(sample).__name__ for sample in SAMPLES),
        ]
    )


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_events_are_frozen_and_travel(event: events.Event) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at = 0.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(event)) == event
    assert dataclasses.replace(event, at=9.0) != event


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_times_can_be_those_of_another_machine(event: events.Event) -> None:
    later = events.shifted(event, 30.0)
    changed = {
        field.name: getattr(later, field.name) - getattr(event, field.name)
        for field in dataclasses.fields(event)
        if getattr(later, field.name) != getattr(event, field.name)
    }
    times = {"at", "raised_at", "sent_at"} & {field.name for field in dataclasses.fields(event)}
    assert changed == pytest.approx(dict.fromkeys(times, 30.0))


def test_what_a_rank_has_reported_of_its_exception_is_shifted_too() -> None:
    report = ErrorReport.of(ValueError("x"), "", raised_at=3.5)
    later = events.shifted(report.event(0, 3.6), 30.0)
    assert (later.at, later.raised_at, later.report.raised_at) == (33.6, 33.5, 33.5)
    assert (report.raised_at, later.report.text) == (3.5, "x")


def test_every_number_of_an_event_is_known_as_a_time_or_as_something_else() -> None:
    """Who adds a field says here whether another machine has another one."""
    kinds = [*get_args(events.Event), events.ErrorFile, events.Stack, events.Usage, ErrorReport]
    numbers = {field.name for kind in kinds for field in dataclasses.fields(kind) if field.type == "float"}
    durations, since_the_epoch, percent = {"seconds", "lingered"}, {"written_at"}, {"cpu"}
    assert numbers == {"at", "raised_at", "sent_at"} | durations | since_the_epoch | percent


def test_the_body_of_a_message_is_not_shown() -> None:
    for sample in SAMPLES:
        assert "secret" not in repr(sample)


def test_an_end_has_no_defect_by_itself() -> None:
    assert events.Ended(1.0).defect is None
