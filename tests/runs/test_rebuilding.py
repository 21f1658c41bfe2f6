"""Values that cannot be rebuilt, or take their time, while other ranks are still at work."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from nblaunch.events import Ended, Event, Finished, Refused
from nblaunch.launching.presenting import Presentation
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.messages.work import VALUE
from nblaunch.payload import pack_named
from nblaunch.runs.failures import RanksFailed
from nblaunch.runs.rebuilding import Rebuilding
from nblaunch.runs.registry import running
from nblaunch.runs.run import Run

LOOKUP = "LookupError('only there')"
# what fails in any process but the rank's
ODD = (
    "import os, threading, pathlib\n"
    "home = os.getpid()\n"
    "def build():\n"
    "    if os.getpid() != home:\n"
    f"        raise {LOOKUP}\n"
    "class Odd:\n    def __reduce__(self): return build, ()\n"
)
UNBUILT = "the value of rank 0 arrived but cannot be rebuilt in the notebook: LookupError: only there"


def run_cell(source: str, nprocs: int = 2, **options: Any) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), quiet=True, **options)


@pytest.mark.parametrize("start_method", ["zygote", "fork"])
def test_it_is_a_failure_at_once_and_ends_the_others(start_method: str) -> None:
    run = run_cell(f"{ODD}if rank: threading.Event().wait()\nOdd()", start_method=start_method)
    assert (run.status, run.results) == ("failed", {})
    root = run.root_cause
    assert root is not None
    assert (root.rank, root.message, type(root.exception)) == (0, UNBUILT, LookupError)
    # its process may still be on its way out when the others are ended
    assert root.exitcode in (0, -signal.SIGTERM)
    assert run.failures[1].collateral
    text = RanksFailed(run)._text(coloured=False)
    assert text.endswith(f"Rank 0 failed first:\n  {UNBUILT}")
    assert "rank 1 was ended because of that" in text
    assert "Where it was when rank 0 failed:\n  rank 1: " in text


def test_the_others_go_on_where_they_shall(tmp_path: Path) -> None:
    place = str(tmp_path / "tried")
    cell = ODD.replace("raise", f"pathlib.Path({place!r}).touch()\n        raise")
    # ends only when the other one's value has been tried
    cell += f"while rank and not os.path.exists({place!r}): threading.Event().wait(0.01)\nloss = rank\nrank or Odd()"
    run = run_cell(cell, on_failure="continue", collect=["loss"])
    assert (run.status, run.results, run.collected) == ("failed", {1: 1}, {"loss": {1: 1}})
    assert [failure.message for failure in run.failures.values()] == [UNBUILT]


@pytest.mark.parametrize("other", ["threading.Event().wait()", "pass"], ids=["at work", "finished"])
def test_all_start_again(other: str) -> None:
    cell = f"{ODD}again = os.environ['TORCHELASTIC_RESTART_COUNT'] == '1'\nif rank and not again: {other}\n"
    cell += "rank if again else Odd()"
    run = run_cell(cell, max_restarts=2)
    assert run.results == {0: 0, 1: 1}, run.failures
    first, last = run.attempts
    assert (first.failures[0].message, last.failures) == (UNBUILT, {})
    assert run_cell(f"{ODD}Odd()", 1, max_restarts=1).earlier == [f"attempt 0: rank 0, {UNBUILT}"]


def test_what_asks_for_a_process_group_says_what_to_return() -> None:
    asks = "ValueError('Default process group has not been initialized.')"
    run = run_cell(f"{ODD.replace(LOOKUP, asks)}Odd()", 1)
    assert run.failures[0].message == (
        "the value of rank 0 arrived but cannot be rebuilt in the notebook: ValueError: Default process group has not "
        "been initialized. Process groups are in ranks only: return what it has in it, such as numbers, tensors "
        "or a state_dict"
    )


def test_what_was_raised_first_is_the_root_cause() -> None:
    run = run_cell(f"{ODD}if rank: raise ValueError('mine')\nOdd()", on_failure="continue")
    assert {type(failure.exception) for failure in run.failures.values()} == {ValueError, LookupError}
    assert run.root_cause is min(run.failures.values(), key=lambda failure: failure.at)


class _Looks:
    """Looks, while it is rebuilt in the notebook, where the ranks are: the thread that watches them must answer."""

    home = os.getpid()

    def __init__(self) -> None:
        self.found: list[int] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        if os.getpid() == self.home:
            self.found = [rank for run in running() for rank in run.stacks()]
            Path(state["gate"]).touch()


def test_the_ranks_are_watched_while_values_are_rebuilt(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def work() -> object:
        if os.environ["RANK"] == "0":
            looks = _Looks()
            vars(looks)["gate"] = str(gate)
            return looks
        while not gate.exists():
            threading.Event().wait(0.01)
        return 1

    run = launch(work, 2, start_method="fork", panel="none")
    assert run.ok, run.failures
    assert run.results[0].found == [1]


def test_without_a_thread_they_are_rebuilt_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "nblaunch-values":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    run = run_cell(f"{ODD}Odd() if rank == 0 else {{1: complex(0, 2)}}", on_failure="continue")
    assert run.results == {1: {1: 2j}}
    assert run.failures[0].message == UNBUILT


def report(rank: int, value: object) -> Finished:
    return Finished(rank, bytearray(bytes(pack_named({VALUE: value}))), 1.0)


class _Blocks:
    begun = threading.Event()
    go_on = threading.Event()

    def __setstate__(self, state: object) -> None:
        self.begun.set()
        self.go_on.wait()


def test_plain_values_start_no_thread_and_wait_for_nobody() -> None:
    before = threading.enumerate()
    rebuilding = Rebuilding((), lambda *_: None)
    rebuilding.add(report(0, [1, 2.5, "text", None, {"a": (True, b"x")}]))
    assert threading.enumerate() == before
    rebuilding.finish()
    assert rebuilding.values == {0: {VALUE: [1, 2.5, "text", None, {"a": (True, b"x")}]}}


def test_a_value_that_never_gets_rebuilt_is_not_waited_for_by_those_who_cannot() -> None:
    refused: list[int] = []
    rebuilding = Rebuilding((), lambda rank, *_: refused.append(rank))
    blocks = _Blocks()
    blocks.__dict__["state"] = 1
    _Blocks.begun.clear()
    _Blocks.go_on.clear()
    rebuilding.add(report(0, blocks))
    assert _Blocks.begun.wait(60)
    rebuilding.add(report(1, sys.version_info))
    assert rebuilding.hangs(0.01)
    rebuilding.drop()
    _Blocks.go_on.set()
    rebuilding.finish()
    assert (rebuilding.values, rebuilding.errors, refused) == ({}, {}, [])


def test_everybody_who_shows_the_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Event] = []
    show = Presentation.note

    def noted(presentation: Presentation, event: Event) -> None:
        shown.append(event)
        show(presentation, event)

    monkeypatch.setattr(Presentation, "note", noted)
    for cell in (
        f"{ODD}if rank: threading.Event().wait()\nOdd()",
        f"{ODD}rank or Odd()",
        "class A: pass\n" + ODD + "Odd()",
    ):
        shown.clear()
        run_cell(cell, 1 if "class A" in cell else 2, max_restarts=0)
        told = [event for event in shown if isinstance(event, (Refused, Ended))]
        assert [type(event) for event in told] == [Refused, Ended]
        assert isinstance(told[0], Refused)
        assert (told[0].rank, told[0].why) == (0, UNBUILT)
