"""A rank that has failed by itself ends in its own time, and its exit code is its own."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

import nblaunch
from nblaunch.events import Ending, Event
from nblaunch.processes.errors import ProcessFailure
from nblaunch.processes.errors.failure import FailureMessage, lingered
from nblaunch.processes.gang.supervisor import Supervisor
from tests.processes import targets
from tests.processes.conftest import Launch
from tests.processes.targets import LIMIT, Announcements, Gate, assert_gone
from tests.processes.test_start_processes import result_of


@pytest.mark.parametrize(("how", "exitcode"), [("boom", 1), ("7", 7)])
@pytest.mark.parametrize("keeper", ["atexit", "thread"])
def test_it_is_not_hurried(
    launch: Launch,
    method: str,
    announcements: Announcements,
    gate: Gate,
    tmp_path: Path,
    how: str,
    exitcode: int,
    keeper: str,
) -> None:
    last_words = tmp_path / "last words"
    beginning = Gate(tmp_path / "beginning")
    args = {
        rank: (rank, how, keeper, beginning.path, gate.path, str(last_words), announcements.path) for rank in range(2)
    }
    context = launch(targets.first_fails_and_ends_at, args, method)
    others = announcements.pids(1)
    beginning.close()
    # the other one is ended meanwhile
    assert_gone(others)
    assert not last_words.exists()
    gate.open()
    result = result_of(context)
    assert {rank: failure.exitcode for rank, failure in result.failures.items()} == {0: exitcode}
    assert last_words.read_text() == "said"
    assert "Signal" not in result.failures[0].message
    assert how in result.failures[0].message


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set when a gang begins to end its ranks."""
    begun = threading.Event()
    tell = Supervisor._tell

    def note(gang: Supervisor, event: Event) -> None:
        tell(gang, event)
        if isinstance(event, Ending):
            begun.set()

    monkeypatch.setattr(Supervisor, "_tell", note)
    return begun


def test_alone_it_is_not_hurried_either(
    launch: Launch, method: str, gate: Gate, tmp_path: Path, ending: threading.Event
) -> None:
    last_words = tmp_path / "last words"
    context = launch(targets.fail_and_end_at, {0: ("boom", "atexit", gate.path, str(last_words))}, method)
    assert ending.wait(LIMIT)
    gate.open()
    assert result_of(context).failures[0].exitcode == 1
    assert last_words.exists()


@pytest.mark.parametrize("how", ["boom", "7"])
def test_it_is_killed_when_the_grace_is_over(method: str, how: str) -> None:
    run = nblaunch.launch(targets.fail_and_never_end, 1, args=(how,), start_method=method, grace=0.1, panel="none")
    for failure in run.failures.values():
        assert failure.exitcode == -signal.SIGKILL
        assert not failure.collateral
        assert how in failure.summary()
        assert failure.lingered in failure.message
        assert "and was killed" in failure.lingered
    assert run.failures[0].lingered in str(nblaunch.RanksFailed(run)._text(coloured=False))


def test_an_order_ends_it_at_once(
    launch: Launch, method: str, gate: Gate, tmp_path: Path, ending: threading.Event
) -> None:
    context = launch(targets.fail_and_end_at, {0: ("boom", "thread", gate.path, str(tmp_path / "words"))}, method)
    assert ending.wait(LIMIT)
    context.close()
    assert result_of(context).failures[0].exitcode == -signal.SIGTERM


def test_the_sentence_about_one_that_goes_on() -> None:
    assert lingered(2.04) == (
        "After that its process went on for 2.0 s, in an atexit function or in a thread that is no daemon, and was "
        "killed"
    )


def test_a_sentence_is_added_to_message_and_traceback(tmp_path: Path) -> None:
    failure = ProcessFailure(0, 1, 1, str(tmp_path / "none"))
    failure.message = FailureMessage("ValueError: x", {"message": "x", "extraInfo": {"py_callstack": "Traceback\n"}})
    failure.add("And then.")
    assert failure.message == "ValueError: x\nAnd then."
    assert isinstance(failure.message, FailureMessage)
    assert failure.message["extraInfo"] == {"py_callstack": "Traceback\nAnd then."}
    failure.message = "a text"
    failure.add("And then.")
    assert failure.message == "a text\nAnd then."
