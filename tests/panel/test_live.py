"""`LivePanel` without a kernel: what harms neither a run nor its record."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

import nblaunch.panel.live as live
from nblaunch.events import Ended, Finished, Launched, Restarting, Started
from nblaunch.launching import presenting
from nblaunch.launching.session import launch
from nblaunch.logs.arrivals import Arrivals
from nblaunch.logs.reader import LogReader
from nblaunch.messages.reports import ErrorReport
from nblaunch.panel.live import LivePanel
from nblaunch.panel.state import RunState, RunSummary
from nblaunch.runs.attempt_recorder import AttemptRecorder
from tests.logs.readers import logs_of


class Page:
    """Takes what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[dict[str, Any], bool]] = []
        self.error: Exception | None = None
        self.failed = threading.Event()

    def __call__(
        self, data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            self.failed.set()
            raise error
        self.published.append((data, update))

    @property
    def texts(self) -> list[str]:
        return [data["text/plain"] for data, _ in self.published]


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def panel(page: Page, tmp_path: Path) -> LivePanel:
    """A panel of one rank that has written something."""
    panel = LivePanel(
        "%%multiproc 1",
        page,
        lambda: RunSummary("finished", ""),
        lambda: None,
        lambda: None,
        lambda: "",
        lambda attempt: logs_of([tmp_path / "out"], [tmp_path / "err"]),
    )
    (tmp_path / "out").write_text("hello\n")
    (tmp_path / "err").touch()
    panel.note(Launched(1, 100.0))
    panel.note(Started(0, 1234, 100.0))
    return panel


def end(panel: LivePanel) -> None:
    panel.note(Finished(0, bytearray(), 101.0))
    panel.note(Ended(101.0))


def test_an_interrupt_during_the_record_does_not_lose_it(
    panel: LivePanel, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the interrupt comes in the main thread, while the record is being made
    begun, go_on = threading.Event(), threading.Event()

    def slow(state: RunState, summary: RunSummary, arrivals: Arrivals, *, with_logs: bool) -> tuple[str, str]:
        begun.set()
        assert go_on.wait(10)
        assert threading.current_thread() is not threading.main_thread()
        return "<b>record</b>", "record"

    class Interrupted(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            assert begun.wait(10)
            if not go_on.is_set():
                go_on.set()
                raise KeyboardInterrupt
            super().join(timeout)

    monkeypatch.setattr(live, "record", slow)
    monkeypatch.setattr(threading, "Thread", Interrupted)
    end(panel)
    with pytest.raises(KeyboardInterrupt):
        panel.close()
    panel.close()
    panel.close()
    assert page.texts == ["record"]


def test_without_threads_there_is_a_record(panel: LivePanel, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    panel.follow(at_once=True)
    end(panel)
    panel.close()
    assert [text.splitlines()[1] for text in page.texts] == ["hello"]


def test_logs_that_are_gone_leave_the_rest_of_the_record(panel: LivePanel, page: Page, tmp_path: Path) -> None:
    assert panel._arrivals is not None
    panel._arrivals.look()
    shutil.rmtree(tmp_path)
    end(panel)
    panel.close()
    first, second = page.texts[0].splitlines()
    assert first.startswith("✓ %%multiproc 1  finished in ")
    assert second.startswith("… the output cannot be read any more: ")


def test_a_record_that_cannot_be_published_harms_no_run(
    panel: LivePanel, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    page.error = OSError("the connection is closed")
    end(panel)
    panel.close()
    assert page.texts == []
    assert "the panel failed; the run is not concerned" in caplog.text


def test_a_widget_that_could_not_be_shown_is_followed_by_a_record_of_its_own(
    panel: LivePanel, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    page.error = OSError("the connection is closed")
    panel.follow(at_once=True)
    assert page.failed.wait(60)
    end(panel)
    panel.close()
    assert "the panel failed; the run goes on without it" in caplog.text
    assert "hello" in page.texts[-1]
    # an update would change nothing that is there
    assert [update for _, update in page.published] == [False]


@pytest.mark.parametrize(
    ("said", "is_cleared"),
    [
        ([("a", 1, "hello"), ("a", 2, "gone")], True),
        # drawn anew; and a word that was overtaken by a later one
        ([("a", 1, "hello"), ("a", 2, "gone"), ("a", 3, "hello")], False),
        ([("a", 1, "hello"), ("a", 3, "hello"), ("a", 2, "gone")], False),
        # another page shows it
        ([("a", 1, "hello"), ("b", 1, "hello"), ("a", 2, "gone")], False),
        ([("a", 1, "hello"), ("b", 1, "hello"), ("a", 2, "gone"), ("b", 2, "gone")], True),
        # one that has not drawn it yet
        ([("a", 1, "here")], False),
        # and never will, because a server runs the cell
        ([("a", 1, "shared")], True),
        # no messages
        ([("a", "1", "gone"), (None, 1, "gone")], False),
    ],
)
def test_a_record_whose_place_was_cleared_gets_one_of_its_own(
    panel: LivePanel, page: Page, said: list[tuple[object, object, str]], is_cleared: bool
) -> None:
    panel._is_open = True
    for client, number, kind in said:
        message = {"kind": "here", "shared": kind == "shared"} if kind in ("here", "shared") else {"kind": kind}
        panel._hear({"client": client, "n": number, **message}, "control")
    end(panel)
    panel.close()
    assert [text for text in page.texts if "finished" in text] == [page.texts[-1]]
    assert page.published[-1][1] is not is_cleared


def test_a_defect_of_nblaunch_leaves_a_record_too(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(attempt: AttemptRecorder, *_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(AttemptRecorder, "conclude", broken)
    monkeypatch.setattr(presenting, "kernel_publisher", lambda: page)
    monkeypatch.setattr(presenting, "in_kernel", lambda: True)
    with pytest.raises(RuntimeError, match="nblaunch failed while it watched the ranks"):
        launch(abs, 1, args=(1,), panel="live", start_method="fork")
    assert page.texts[-1].startswith("✕ launch(abs, 1)  failed in ")


def test_what_the_logs_were_followed_with_is_let_go(panel: LivePanel) -> None:
    assert panel._arrivals is not None
    kept = weakref.ref(panel._arrivals)
    end(panel)
    panel.close()
    gc.collect()
    assert kept() is None


def test_what_a_panel_is_told_of_an_exception_is_bounded() -> None:
    text = "begins " + "x" * 1_000_000 + "\ud800 ends"
    told = ErrorReport.of(ValueError(text), text).event(0, 101.0)
    assert (told.summary[:18], len(told.summary)) == ("ValueError: begins", 300)
    assert (told.traceback[:6], told.traceback[-6:]) == ("begins", "? ends")
    assert len(told.traceback) < 50_000


def test_a_stop_does_not_wait_for_whoever_asks_where_the_ranks_are(tmp_path: Path) -> None:
    asked, stopped, go_on = threading.Event(), threading.Event(), threading.Event()

    def stacks() -> str:
        asked.set()
        assert go_on.wait(30)
        return "here"

    recorded = threading.Event()

    def publish(
        data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        if data["text/plain"].startswith("■"):
            recorded.set()

    def logs(attempt: int) -> LogReader:
        return logs_of([tmp_path / "out"], [tmp_path / "err"])

    panel = LivePanel(
        "%%multiproc 1", publish, lambda: RunSummary("stopped", ""), stopped.set, lambda: None, stacks, logs
    )
    panel.note(Launched(1, 100.0))
    panel.follow(at_once=True)
    for number in range(3):
        panel._hear({"client": "a", "n": number, "kind": "stacks", "id": number}, "control")
    assert asked.wait(30)
    panel._hear({"client": "a", "n": 3, "kind": "stop"}, "control")
    assert stopped.is_set()
    # nor does the record
    panel.note(Ended(101.0))
    assert recorded.wait(30)
    go_on.set()
    panel.close()


def test_lines_of_all_attempts_are_printed(page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def logs(attempt: int) -> LogReader:
        return logs_of([tmp_path / f"{attempt}.out"], [tmp_path / f"{attempt}.err"])

    panel = LivePanel("t", page, lambda: RunSummary("finished", ""), lambda: None, lambda: None, lambda: "", logs)
    for attempt in (0, 1):
        paths = [tmp_path / f"{attempt}.{stream}" for stream in ("out", "err")]
        paths[0].write_text(f"of attempt {attempt}\n")
        paths[1].touch()
        panel.note(Launched(1, 100.0, attempt))
        panel.note(Started(0, 1, 100.0))
        if attempt == 0:
            panel.note(Restarting(1, 1, 100.5))
    panel._print_lines()
    end(panel)
    panel.close()
    assert capsys.readouterr().out == "[0] of attempt 0\n[0] of attempt 1\n"
    assert "of attempt" not in page.texts[-1]
