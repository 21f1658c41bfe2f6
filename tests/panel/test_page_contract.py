"""The real panel and the real page talk to each other: each message of each side, checked against the one table."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from nblaunch.events import Ended, Launched, Sampled, Started, Usage
from nblaunch.panel import pages, widget
from nblaunch.panel.live import LivePanel
from nblaunch.panel.page_messages import FROM_PAGES, TO_PAGES, Chunk, Placed, RankNews, RunNews, fits
from nblaunch.panel.state import RunSummary
from nblaunch.panel.widget import PanelWidget
from tests.javascript.shapes import PATH, declarations
from tests.logs.readers import logs_in

PAGE = Path(__file__).parents[1] / "javascript" / "page.js"
WITHIN = 60.0
EVERYWHERE = ("buffers", "widget", "again")


class Talk:
    """A panel of two ranks, and node as its page; what each says goes to the other, and is kept."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.from_page: list[dict[str, Any]] = []
        self.to_page: list[dict[str, Any]] = []
        self.said = threading.Condition()
        # what the page has told of itself
        self.news: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.buffers_arrive = True
        self.widgets: list[PanelWidget] = []
        self.stacks: Callable[[], str] = lambda: "rank 0 is in f"
        talk = self

        class Widget(PanelWidget):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                talk.widgets.append(self)

            def send(self, content: Any, buffers: Any = None) -> None:
                with talk.said:
                    talk.to_page.append(json.loads(json.dumps(content)))
                    talk.said.notify_all()
                arriving = [b64encode(data).decode() for data in buffers] if talk.buffers_arrive else []
                talk.tell(message=content, buffers=arriving)

        monkeypatch.setattr(widget, "PanelWidget", Widget)
        monkeypatch.setattr(pages, "_BEAT_PERIOD", 0.3)
        self.panel = LivePanel(
            "a run",
            lambda *_args, **_options: None,
            lambda: RunSummary("finished", ""),
            lambda: self.orders.put("stop"),
            lambda: self.orders.put("kill"),
            lambda: self.stacks(),
            lambda _attempt: logs_in(folder, 2),
        )
        self.page = subprocess.Popen(
            ["node", str(PAGE), self.panel._token, "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def tell(self, **line: Any) -> None:
        """Send a line to the page."""
        assert self.page.stdin is not None
        self.page.stdin.write(f"{json.dumps(line)}\n")
        self.page.stdin.flush()

    def call(self, action: str, *args: Any) -> None:
        """Have the page do something."""
        self.tell(call=action, args=args)

    def _listen(self) -> None:
        assert self.page.stdout is not None
        for text in self.page.stdout:
            line = json.loads(text)
            if "said" in line:
                if line["said"]["kind"] == "placed":
                    # the panel has gone, and its widget hears that
                    self.widgets[0]._handle_custom_msg(line["said"], [])
                else:
                    self.panel._hear(line["said"], line["channel"])
                with self.said:
                    self.from_page.append(line["said"])
                    self.said.notify_all()
            else:
                self.news.put(line)

    def until(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return what the page knows or was answered, as soon as that is so."""
        while True:
            news = self.news.get(timeout=WITHIN)
            if is_it(news):
                return news

    def known(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        found: dict[str, Any] = self.until(lambda news: "known" in news and is_it(news["known"]))["known"]
        return found

    def answer(self, question: str) -> dict[str, Any]:
        return self.until(lambda news: news.get("answered") == question)

    def wait_for(self, kind: str, said: list[dict[str, Any]]) -> None:
        """Wait until the panel or the page has said something of this kind, and the panel has heard it."""
        with self.said:
            assert self.said.wait_for(lambda: any(message["kind"] == kind for message in said), WITHIN)

    def write(self, rank: int, text: str, *, err: bool = False) -> None:
        with (self.folder / f"{rank}.{'err' if err else 'out'}").open("a") as file:
            file.write(text)

    def close(self) -> None:
        self.panel.note(Ended(200.0))
        self.panel.close()
        assert self.page.stdin is not None
        self.page.stdin.close()
        self.page.wait(WITHIN)
        self.listener.join(WITHIN)
        assert self.page.stdout is not None
        self.page.stdout.close()


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    talk = Talk(tmp_path, monkeypatch)
    for rank in range(2):
        talk.write(rank, "")
        talk.write(rank, "", err=True)
    talk.panel.note(Launched(2, 100.0))
    for rank in range(2):
        talk.panel.note(Started(rank, 1000 + rank, 100.0))
    yield talk
    talk.close()


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_each_message_is_understood_by_the_other_side(talk: Talk) -> None:
    panel = talk.panel
    talk.call("initialize")
    panel.follow(at_once=True)
    # said before the panel has a widget, it is heard all the same
    panel.note(Sampled({0: Usage(50.0, 1000), 1: Usage(25.0, 2000)}, 101.0))
    talk.write(0, "größer\n")
    talk.write(1, "warned\n", err=True)
    talk.call("join")
    first = talk.known(lambda known: known["logs"].get("0", {}).get("lines") == ["größer"] and known["isHeard"])
    assert (first["run"]["state"], first["run"]["cpu"], first["run"]["log_dir"]) == ("running", 75, str(talk.folder))
    assert [(rank["pid"], rank["memory"], rank["history"]) for rank in first["ranks"]] == [
        (1000, 1000, [1000]),
        (1001, 2000, [2000]),
    ]

    # more than is sent without an acknowledgement
    for number in range(8):
        talk.write(0, f"{number} {'x' * 60_000}\n")
        size = (talk.folder / "0.out").stat().st_size
        talk.known(lambda known, size=size: known["logs"]["0"]["size"] == size)  # type: ignore[misc]
    talk.wait_for("ack", talk.from_page)
    talk.call("page", "0", 2, 6, True)
    assert talk.answer("page") == {"answered": "page", "found": "öß"}
    talk.call("page", "0", 0, 9)
    assert talk.answer("page") == {"answered": "page", "found": "größer\n"}
    talk.call("page", "7", 0, 9)
    assert talk.answer("page") == {"answered": "page", "error": "there is no log '7'"}
    talk.call("stacks")
    assert talk.answer("stacks") == {"answered": "stacks", "found": "rank 0 is in f"}
    talk.stacks = lambda: str(1 / 0)
    talk.call("stacks")
    assert talk.answer("stacks") == {"answered": "stacks", "error": "ZeroDivisionError: division by zero"}
    talk.wait_for("beat", talk.to_page)

    # from here on buffers are lost, as in Google Colab: the page asks once more, and the message has the bytes in it
    talk.buffers_arrive = False
    talk.call("page", "0", 0, 9)
    assert talk.answer("page") == {"answered": "page", "found": "größer\n"}
    talk.write(1, "more\n")
    later = talk.known(lambda known: known["logs"]["1"]["lines"] == ["warned", "more"])
    assert later["buffers"] is False

    talk.call("stop")
    assert talk.orders.get(timeout=WITHIN) == "stop"
    talk.call("kill")
    assert talk.orders.get(timeout=WITHIN) == "kill"
    talk.call("leave")
    talk.wait_for("gone", talk.from_page)
    assert panel._viewers.has_left()
    talk.call("join")
    panel.note(Ended(130.0))
    panel.close()
    last = talk.known(lambda known: known["run"].get("over"))
    assert last["run"]["elapsed"] == 30.0

    assert not talk.widgets[0].placed
    talk.call("rest", talk.widgets[0].record)
    talk.wait_for("placed", talk.from_page)
    assert talk.widgets[0].placed

    # and nothing was said that the table does not have, and all of it was said
    assert {field for message in talk.from_page for field in message} >= {*EVERYWHERE}
    assert _said(talk.from_page, (*FROM_PAGES, Placed)) == _told((*FROM_PAGES, Placed))
    assert _said(talk.to_page, TO_PAGES) == _told(TO_PAGES)
    ticks = [message for message in talk.to_page if message["kind"] == "tick"]
    for parts, shape in (
        ([tick.get("run", {}) for tick in ticks], RunNews),
        ([news for tick in ticks for news in tick.get("ranks", {}).values()], RankNews),
        ([chunk for tick in ticks for chunk in tick["chunks"]], Chunk),
    ):
        assert set().union(*parts) == get_type_hints(shape).keys()


def _said(messages: list[dict[str, Any]], shapes: tuple[type, ...]) -> dict[str, set[str]]:
    """Return the fields of the messages of each kind; each message has to fit."""
    found: dict[str, set[str]] = {}
    for message in messages:
        assert any(fits(message, shape, exactly=True) for shape in shapes), message
        found.setdefault(message["kind"], set()).update(message)
    for fields in found.values():
        # in any message of a page, and in most of them here
        fields.difference_update(EVERYWHERE)
    return found


def _told(shapes: tuple[type, ...]) -> dict[str, set[str]]:
    hints = [get_type_hints(shape) for shape in shapes]
    return {get_args(fields["kind"])[0]: {*fields} - {*EVERYWHERE} for fields in hints}


def test_what_typescript_checks_is_made_from_the_table() -> None:
    assert PATH.read_text() == declarations(), "python -m tests.javascript.shapes makes it anew"
