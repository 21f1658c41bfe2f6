"""The display publisher of a rank, over a real channel."""

from __future__ import annotations

import base64
import enum
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import numpy as np
import pytest

from nblaunch.events import Displayed
from nblaunch.messages.decoder import decode
from nblaunch.messages.displays import Display
from nblaunch.payload import NotEnoughMemory
from nblaunch.processes.child.channel import Channel
from nblaunch.processes.gang.inbox import Inbox
from nblaunch.rank import displays
from nblaunch.rank.displays import DisplayNotSent, RankDisplayPublisher, as_plain


@contextmanager
def publisher() -> Iterator[tuple[RankDisplayPublisher, Inbox]]:
    """Return a publisher that is connected, and the other end."""
    ours, theirs = socket.socketpair()
    inbox = Inbox(ours)
    made = RankDisplayPublisher()
    channel = Channel(theirs)
    made.connect(channel)
    try:
        yield made, inbox
    finally:
        channel.close()
        inbox.close()


def received(inbox: Inbox) -> list[Displayed]:
    events = []
    for kind, body, at in inbox.receive():
        message = decode(0, kind, body)
        assert message is not None
        event = message.event(0, at)
        assert isinstance(event, Displayed)
        events.append(event)
    return events


def test_what_is_rich_is_sent_and_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with publisher() as (made, inbox):
        made.publish({"text/plain": "x", "text/html": "<b>"}, {"isolated": True})
        made.publish({"text/plain": "1"}, {}, transient={"display_id": "d"})
        made.publish({"text/plain": "2"}, None, transient={"display_id": "d"}, update=True)
        made.publish({}, {}, transient={"display_id": "e"})
        made.clear_output(wait=True)
        made.clear_output()
        events = received(inbox)
    assert [(e.kind, e.data, e.metadata, e.display_id, e.wait) for e in events] == [
        ("display", {"text/plain": "x", "text/html": "<b>"}, {"isolated": True}, None, False),
        ("display", {"text/plain": "1"}, {}, "d", False),
        ("update", {"text/plain": "2"}, {}, "d", False),
        ("display", {}, {}, "e", False),
        ("clear", {}, {}, None, True),
        ("clear", {}, {}, None, False),
    ]
    assert capfd.readouterr().out == ""


def test_text_alone_is_printed_and_not_sent(capfd: pytest.CaptureFixture[str]) -> None:
    with publisher() as (made, inbox):
        made.publish({"text/plain": "one"})
        made.publish({}, {})
        assert received(inbox) == []
    assert capfd.readouterr().out == "one\n"


def test_without_a_channel_the_text_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    made = RankDisplayPublisher()
    made.publish({"text/plain": "text", "text/html": "<b>"}, {})
    made.publish({"text/html": "<b>"}, {})
    made.clear_output()
    assert capfd.readouterr().out == "text\n"


def test_a_forked_child_prints(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with publisher() as (made, inbox):
        monkeypatch.setattr(os, "getpid", lambda: 1)
        made.publish({"text/plain": "child", "text/html": "<b>"}, {})
        made.clear_output()
        assert received(inbox) == []
    assert capfd.readouterr().out == "child\n"


def test_a_widget_is_text_and_a_hint_once(capfd: pytest.CaptureFixture[str]) -> None:
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    with publisher() as (made, inbox):
        made.publish({"text/plain": "IntSlider()"} | view, {})
        made.publish({"text/plain": "chart", "text/html": "<svg>"} | view, {})
        (event,) = received(inbox)
    assert event.data == {"text/plain": "chart", "text/html": "<svg>"}
    out = capfd.readouterr().out
    assert out.startswith("IntSlider()\n(A widget of a rank is shown as text: ")
    assert out.count("A widget") == 1


def test_large_outputs_come_in_a_memory_file() -> None:
    picture = os.urandom(3_000_000)
    with publisher() as (made, inbox):
        made.publish({"image/png": picture}, {})
        ((kind, body, _),) = inbox.receive()
    assert isinstance(body, list)
    display = decode(0, kind, body)
    assert isinstance(display, Display)
    assert base64.b64decode(display.data["image/png"]) == picture


def test_no_memory_is_an_error_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise NotEnoughMemory("too large")

    with publisher() as (made, inbox):
        monkeypatch.setattr(displays, "store_if_large", refuse)
        with pytest.raises(
            DisplayNotSent, match=r"this output takes 1\.0 MB, and there is not enough memory .* a file"
        ):
            made.publish({"text/html": "x" * 1_000_000}, {})
        monkeypatch.undo()
        made.publish({"text/html": "x"}, {})
        assert [event.data for event in received(inbox)] == [{"text/html": "x"}]


def test_a_gang_that_is_gone_is_an_error() -> None:
    with publisher() as (made, inbox):
        inbox.close()
        with pytest.raises(
            DisplayNotSent, match=r"this output \(\d+ B\) cannot be sent: the connection to the notebook"
        ):
            made.publish({"text/html": "x"}, {})


def test_an_interrupt_does_not_cut_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is larger than what the socket takes at once, so that the main thread waits when the signal comes."""
    html = "x" * 2_000_000
    monkeypatch.setattr(displays, "store_if_large", lambda packed: packed)
    with publisher() as (made, inbox):
        begun = threading.Event()
        send = Channel.send

        def sending(self: Channel, kind: str, body: Any = b"") -> None:
            begun.set()
            send(self, kind, body)

        monkeypatch.setattr(Channel, "send", sending)

        events: list[Displayed] = []

        def interrupt_and_read() -> None:
            assert begun.wait(30)
            os.kill(os.getpid(), signal.SIGINT)
            while not events:
                events.extend(received(inbox))

        thread = threading.Thread(target=interrupt_and_read)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            made.publish({"text/html": html}, {})
        thread.join()
        made.publish({"text/html": "next"}, {})
        events += received(inbox)
    assert [event.data["text/html"] for event in events] == [html, "next"]


def test_threads_display_whole_messages() -> None:
    with publisher() as (made, inbox):

        def show(n: int) -> None:
            for i in range(20):
                made.publish({"text/html": f"{n} {i}"}, {})

        threads = [threading.Thread(target=show, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        shown: list[str] = []
        while len(shown) < 80:  # they wait until what is sent is read
            shown += [event.data["text/html"] for event in received(inbox)]
        for thread in threads:
            thread.join()
    assert sorted(shown) == sorted(f"{n} {i}" for n in range(4) for i in range(20))
    for n in range(4):
        assert [text for text in shown if text.startswith(f"{n} ")] == [f"{n} {i}" for i in range(20)]


class _Colour(str, enum.Enum):
    RED = "red"


def test_values_become_what_json_has() -> None:
    assert as_plain(
        {
            "bytes": b"\x89PNG",
            1: (1, 2),
            "numpy": {"array": np.arange(3), "float": np.float32(0.5), "int": np.int64(7)},
            "nan": math.nan,
            "day": date(2026, 1, 2),
            "colour": _Colour.RED,
            "yes": True,
            "none": None,
        }
    ) == {
        "bytes": base64.b64encode(b"\x89PNG").decode(),
        "1": [1, 2],
        "numpy": {"array": [0, 1, 2], "float": 0.5, "int": 7},
        "nan": "nan",
        "day": "2026-01-02",
        "colour": "red",
        "yes": True,
        "none": None,
    }
    assert type(as_plain(_Colour.RED)) is str


def test_what_json_does_not_have_is_an_error() -> None:
    with publisher() as (made, inbox):
        with pytest.raises(TypeError, match="an output holds a object, which JSON does not have"):
            made.publish({"application/json": {"a": object()}}, {})
        with pytest.raises(TypeError, match="data must be a dict"):
            made.publish("text", {})  # type: ignore[arg-type]
        assert received(inbox) == []
