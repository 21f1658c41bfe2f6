"""What has become of each rank is decided once: the run and what a person is shown of it say the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nblaunch.events import (
    Abandoned,
    Ended,
    Ending,
    Event,
    Exited,
    Finished,
    LastWord,
    Launched,
    Raised,
    Refused,
    Restarting,
    Started,
    TimedOut,
)
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.logs.reader import LocalLogs, LogReader
from nblaunch.logs.run_logs import Logs
from nblaunch.messages.decoder import decode
from nblaunch.messages.reports import ErrorReport, HeldReport
from nblaunch.messages.work import VALUE
from nblaunch.panel.state import RunState
from nblaunch.payload import pack_named
from nblaunch.runs.outcome import RankOutcome, RunOutcome
from nblaunch.runs.recorder import Recorder
from nblaunch.runs.run import Run


class _Value:
    """Arrives as something that cannot be rebuilt."""

    def __reduce__(self) -> Any:
        return os.listdir, ("/nowhere/that/is",)


class _Ranks:
    """Ranks of which nothing but the logs is looked at."""

    def logs(self, attempt: int) -> LogReader:
        return LocalLogs(f"/logs/{attempt}", {})

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Played:
    """A run and a panel's state that get the same events, as a launch tells them."""

    def __init__(self, nprocs: int = 2) -> None:
        self.recorder = Recorder(nprocs, Logs(None))
        self.recorder.belongs_to(_Ranks())
        self.state = RunState("t")
        self.nprocs = nprocs

    @property
    def run(self) -> Run:
        return self.recorder.run

    def note(self, *events: Event) -> Played:
        for event in events:
            self.recorder.note(event)
            if isinstance(event, Ended):
                for refused in self.recorder.refused_late():
                    self.state.note(refused)
            self.state.note(event)
        return self

    def begin(self, at: float = 100.0, ranks: Sequence[int] | None = None) -> Played:
        started = range(self.nprocs) if ranks is None else ranks
        attempt = len(self.run.attempts)
        return self.note(Launched(self.nprocs, at, attempt), *(Started(rank, 7, at) for rank in started))

    def check(self) -> Played:
        """Check that both say the same, rank by rank, and of the root cause."""
        assert self.run.wait(0)
        assert sorted([*self.run.results, *self.run.failures]) == list(range(self.nprocs))
        words = {"finished": "finished", "failed": "failed", "stopped": "ended", "starting": "ended"}
        said = {
            rank: "finished"
            if rank in self.run.results
            else "ended"
            if self.run.failures[rank].collateral
            else "failed"
            for rank in range(self.nprocs)
        }
        assert said == {rank.rank: words[rank.state] for rank in self.state.ranks}
        root, shown = self.run.root_cause, self.state.root
        assert (None if root is None else root.rank) == (None if shown is None else shown.rank)
        return self


def error(
    rank: int, text: str, at: float, raised_at: float | None = None, kind: type[ErrorReport] = ErrorReport
) -> Raised:
    report = kind.of(ValueError(text), f"trace of {text}", raised_at=at if raised_at is None else raised_at)
    return report.event(rank, at)


def value(rank: int, at: float, what: object = 1) -> Finished:
    return Finished(rank, bytearray(bytes(pack_named({VALUE: what}))), at)


OVER = TimedOut((0, 1), 2.0, 102.0), Ending("the time was over", 102.0)


def test_what_a_rank_raises_because_it_is_ended_does_not_hide_that_its_time_was_over() -> None:
    played = Played().begin().note(*OVER, error(1, "asked to end", 102.1))
    played.note(Exited(1, 1, LastWord.ERROR, True, 102.2), Exited(0, -15, None, True, 102.3), Ended(103.0)).check()
    text = "still running after the timeout of 2 s"
    assert [str(failure.message) for failure in played.run.failures.values()] == [
        f"RankTimeout: rank {rank} was {text}" for rank in (0, 1)
    ]
    assert [rank.why for rank in played.state.ranks] == [text, text]
    assert (played.run.status, played.state.ranks[1].traceback) == ("timed out", "trace of asked to end")
    assert played.run.failures[1].traceback == "trace of asked to end"


def test_the_first_of_those_whose_time_was_over_is_not_the_first_that_was_gone() -> None:
    played = Played().begin().note(*OVER, Exited(1, -15, None, True, 102.2), Exited(0, -9, None, True, 107.2))
    assert played.note(Ended(108.0)).check().run.root_cause is played.run.failures[0]


def test_what_was_raised_before_the_time_was_over_is_what_failed() -> None:
    played = Played().begin().note(*OVER, error(1, "just before", 102.1, raised_at=101.9))
    played.note(Exited(1, 1, LastWord.ERROR, True, 102.2), Exited(0, -15, None, True, 102.3), Ended(103.0)).check()
    assert played.run.root_cause is played.run.failures[1]
    assert played.run.failures[1].summary() == played.state.ranks[1].why == "ValueError: just before"


def test_a_rank_that_is_held_when_the_time_is_over_has_failed_of_what_it_raised() -> None:
    played = Played().begin().note(error(1, "held", 101.0, kind=HeldReport), *OVER)
    assert played.state.ranks[1].why == "ValueError: held"
    played.note(Exited(1, -15, None, True, 102.2), Exited(0, -15, None, True, 102.3), Ended(103.0)).check()
    assert played.run.root_cause is played.run.failures[1]
    assert played.run.failures[1].summary() == played.state.ranks[1].why == "ValueError: held"


def test_a_rank_that_does_not_go_has_failed_of_what_it_had_failed_of_before() -> None:
    played = (
        Played().begin().note(error(1, "no", 101.0), TimedOut((0,), 2.0, 102.0), Ending("the time was over", 102.0))
    )
    played.note(*(Abandoned(rank, 7, 112.0) for rank in (0, 1)))
    played.note(*(Exited(rank, -9, None, True, 112.0) for rank in (0, 1)), Ended(113.0)).check()
    assert [str(failure.message) for failure in played.run.failures.values()] == [
        f"{text}\nIt hangs in the kernel and did not even go when killed"
        for text in ("RankTimeout: rank 0 was still running after the timeout of 2 s", "ValueError: no")
    ]
    assert [rank.why for rank in played.state.ranks] == [
        f"{text}; it hangs in the kernel and did not go even when killed"
        for text in ("still running after the timeout of 2 s", "ValueError: no")
    ]


@pytest.mark.parametrize("ranks", [[], [0], [0, 1]])
def test_after_a_restart_that_was_not_possible_both_show_the_attempt_before(ranks: list[int]) -> None:
    played = Played().begin().note(value(0, 101.0), error(1, "no", 101.0), Exited(0, 0, LastWord.VALUE, False, 101.1))
    played.note(Exited(1, 1, LastWord.ERROR, False, 101.2), Restarting(1, 1, 102.0)).begin(102.1, ranks)
    played.note(Ending("a rank could not be started", 102.2))
    played.note(*(Exited(rank, -9, None, True, 102.3) for rank in ranks), Ended(102.4, refused="no more processes"))
    played.check()
    assert (played.run.results, played.state.attempt, played.run.logs.path) == ({0: 1}, 0, "/logs/0")
    assert [rank.why for rank in played.state.ranks] == ["", "ValueError: no"]


def test_a_value_that_turns_out_to_be_none_after_a_restart_was_not_possible_is_a_failure_in_both() -> None:
    played = Played().begin().note(error(1, "no", 101.5), value(0, 101.0, _Value()))
    played.note(
        Exited(0, 0, LastWord.VALUE, False, 101.6), Exited(1, 1, LastWord.ERROR, False, 101.6), Restarting(1, 1, 102.0)
    )
    played.begin(102.1, []).note(Ended(102.4, refused="no more processes")).check()
    assert list(played.run.failures) == [0, 1]
    assert played.state.ranks[0].why.startswith("the value of rank 0 arrived but cannot be rebuilt in the notebook: ")


def test_ranks_that_were_killed_because_their_supervision_failed_do_not_run_on_in_the_record() -> None:
    played = Played(3).begin().note(error(1, "no", 101.0), Ended(102.0, "Traceback …"))
    assert [rank.state for rank in played.state.ranks] == ["failed"] * 3
    assert [rank.why for rank in played.state.ranks] == [
        *("was killed: its supervision failed", "ValueError: no", "was killed: its supervision failed")
    ]
    assert [failure.summary() for failure in played.run.failures.values()] == [
        *("rank 0 (pid 7) was killed: its supervision failed", "ValueError: no"),
        "rank 2 (pid 7) was killed: its supervision failed",
    ]
    assert played.run.root_cause is played.run.failures[1]
    assert played.state.root is played.state.ranks[1]


def test_a_message_that_makes_no_sense_is_a_failure_when_it_was_sent() -> None:
    message = decode(1, ErrorReport.KIND, bytearray(b"x"))
    assert message is not None
    played = Played().begin().note(Ending("a rank failed", 102.0), message.event(1, 101.0))
    played.note(Exited(1, -15, LastWord.ERROR, True, 102.2), Exited(0, -15, None, True, 102.3), Ended(103.0)).check()
    assert played.run.root_cause is played.run.failures[1]


def test_a_rank_whose_value_is_here_when_the_time_is_over_has_finished() -> None:
    """Its process may take long to exit, and counts as running until then."""
    played = Played().begin().note(value(0, 101.0), *OVER)
    assert [rank.state for rank in played.state.ranks] == ["finished", "failed"]
    played.note(Exited(0, -9, LastWord.VALUE, True, 107.0), Exited(1, -15, None, True, 102.2), Ended(108.0)).check()
    assert (played.run.results, list(played.run.failures)) == ({0: 1}, [1])


def test_nothing_but_a_refusal_undoes_a_value() -> None:
    outcome = RunOutcome(1)
    for event in (Started(0, 7, 100.0), value(0, 101.0), Exited(0, -9, None, True, 102.0)):
        outcome.note(event)
    assert outcome.ranks[0].state == "finished"
    outcome.note(Refused(0, "no", 101.0, 103.0))
    assert (
        outcome.root
        == outcome.ranks[0]
        == RankOutcome(
            *(0, "failed", 101.0, 7), refused=Refused(0, "no", 101.0, 103.0), exited=Exited(0, -9, None, True, 102.0)
        )
    )


FATES = ("value", "error", "held", "held, told", "silent", "crash", "nothing", "abandoned")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(FATES), st.integers(1, 9)), min_size=1, max_size=4),
    st.sampled_from(["", "failure", "timeout"]),
    st.integers(1, 9),
)
def test_they_agree_whatever_becomes_of_ranks(fates: list[tuple[str, int]], ended: str, end: int) -> None:
    played = Played(len(fates)).begin()
    told: list[tuple[float, Event]] = []
    for rank, (fate, at) in enumerate(fates):
        last = LastWord.ERROR if fate in ("error", "held, told") else None
        if fate == "value":
            last = LastWord.VALUE
        if fate in ("held", "held, told"):
            told.append((at, error(rank, "x", at, kind=HeldReport)))
        if fate in ("error", "held, told"):
            told.append((at + 2.5, error(rank, "x", at + 2.5, raised_at=at)))
        if fate == "value":
            told.append((at, value(rank, at)))
        if fate == "abandoned":
            told.append((20.0, Abandoned(rank, 7, 20.0)))
        gone = 21.0 if fate in ("held", "nothing", "abandoned") else at + 3.0
        if ended and end < gone and fate == "silent":
            gone = end + 0.5
        code = {"value": 0, "silent": 0, "crash": -11}.get(fate, 1 if last else -15)
        collateral = bool(ended) and end < gone and last != LastWord.ERROR
        told.append((gone, Exited(rank, code, last, collateral, gone)))
    if ended == "timeout":
        late = tuple(event.rank for at, event in told if isinstance(event, Exited) and at > end)
        told.append((end, TimedOut(late, 2.0, end)))
    if ended:
        told.append((end, Ending("it was ended", end)))
    played.note(*(event for _, event in sorted(told, key=lambda one: one[0]))).note(Ended(30.0)).check()


def test_a_handler_that_raises_when_the_time_is_over_has_timed_out(tmp_path: Path) -> None:
    source = (
        "import signal, sys, threading\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('the handler of the user'))\n"
        "threading.Event().wait()"
    )
    run = launch(source, 2, timeout=1.0, notebook=Notebook({"__name__": "__main__"}), panel="none")
    assert run.status == "timed out"
    assert all(failure.is_timeout() and not failure.collateral for failure in run.failures.values())
    assert run.root_cause is run.failures[0]
