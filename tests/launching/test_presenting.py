"""`nblaunch.launching.presenting`: who shows a run."""

from __future__ import annotations

import pytest

from nblaunch.events import Ended, Event
from nblaunch.launching import presenting
from nblaunch.launching.options import Options
from nblaunch.launching.prepare import prepare
from nblaunch.launching.presenting import Presentation
from nblaunch.launching.source import Notebook
from nblaunch.logs.reader import LogReader
from nblaunch.logs.run_logs import Logs
from nblaunch.panel.consumer import Consumer
from nblaunch.panel.outputs import OutputLines
from nblaunch.panel.text import TextPanel
from nblaunch.panel.values import ShownValues
from nblaunch.runs.recorder import Recorder


def presentation(**options: object) -> Presentation:
    chosen = Options(**options)  # type: ignore[arg-type]
    return Presentation(Recorder(2, Logs(None)).run, prepare("rank", 2, chosen, Notebook({})), logs_of_nobody)


def logs_of_nobody(attempt: int) -> LogReader:
    raise LookupError(f"no rank of attempt {attempt} has started")


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"panel": "none"}, []),
        ({"panel": "none", "show_values": True}, []),
        ({"panel": "text"}, [TextPanel, OutputLines]),
        ({"panel": "live"}, [TextPanel, OutputLines]),
        ({"panel": "live", "show_values": True}, [TextPanel, OutputLines, ShownValues]),
        ({"quiet": True, "show_values": True}, [TextPanel]),
    ],
)
def test_who_shows_a_run_in_a_terminal(options: dict[str, object], kinds: list[type]) -> None:
    shown = presentation(**options)
    assert [type(consumer) for consumer in shown._consumers] == kinds
    assert shown.is_empty == (not kinds)
    assert not shown.leaves_record
    assert not shown.shows_usage


class Remembers(Consumer):
    """Notes what it is asked for."""

    def __init__(self, can_say: bool) -> None:
        self.asked: list[object] = []
        self._can_say = can_say

    def note(self, event: Event) -> None:
        self.asked.append(event)

    def follow(self, at_once: bool = False) -> None:
        self.asked.append(("follow", at_once))

    def hold(self) -> None:
        self.asked.append("hold")

    def go_on(self) -> None:
        self.asked.append("go on")

    def close(self) -> None:
        self.asked.append("close")

    def say(self, line: str) -> bool:
        self.asked.append(line)
        return self._can_say


def test_every_consumer_is_asked_and_one_says_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = presentation(panel="none")
    first, second, third = Remembers(False), Remembers(True), Remembers(True)
    shown._consumers = (Consumer(), first, second, third)
    ended = Ended(1.0)
    shown.follow(True)
    shown.note(ended)
    shown.hold()
    shown.go_on()
    shown.say("a line")
    shown.close()
    assert first.asked == second.asked == [("follow", True), ended, "hold", "go on", "a line", "close"]
    assert "a line" not in third.asked
    assert capsys.readouterr().out == ""
    # where nobody who shows the run can say it, it is printed
    shown._consumers = (Consumer(), Remembers(False))
    shown.say("another line")
    assert capsys.readouterr().out == "another line\n"


def test_a_sentence_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presenting, "_TOLD", set())
    assert presenting.untold(["one", "two", "one"]) == ("one", "two")
    assert presenting.untold(["two", "three"]) == ("three",)
