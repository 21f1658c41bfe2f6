"""Asking where the ranks are, without keeping anybody waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from nblaunch.panel.inquiry import Inquiry
from nblaunch.panel.page_messages import Found

Answers = list[tuple[tuple[str, int], Found]]


def answered(look: Callable[[], str], *questions: tuple[str, int]) -> Answers:
    inquiry = Inquiry(look)
    for question in questions:
        inquiry.ask(question)
    inquiry.close()
    return inquiry.answers()


def test_whoever_asks_meanwhile_gets_the_same_answer() -> None:
    go_on = threading.Event()
    calls = []

    def look() -> str:
        calls.append(threading.current_thread())
        assert go_on.wait(30)
        return f"look {len(calls)}"

    inquiry = Inquiry(look)
    for question in (("a", 1), ("b", 1), ("a", 2), ("a", 1)):
        inquiry.ask(question)
    assert inquiry.answers() == []
    go_on.set()
    inquiry.close()
    first = {"text": "look 1"}
    assert inquiry.answers() == [(("a", 1), first), (("b", 1), first), (("a", 2), first)]
    assert inquiry.answers() == []
    assert threading.current_thread() not in calls
    # and then another one is asked anew
    inquiry.ask(("a", 3))
    inquiry.close()
    assert inquiry.answers() == [(("a", 3), {"text": "look 2"})]


def test_what_goes_wrong_is_an_answer_too() -> None:
    def look() -> str:
        raise TimeoutError("the ranks are still being started")

    assert answered(look, ("a", 1)) == [(("a", 1), {"error": "TimeoutError: the ranks are still being started"})]


def test_without_threads_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert answered(str, ("a", 1)) == [(("a", 1), {"error": "this process can start no more threads"})]


def test_an_answer_is_bounded_and_can_be_sent() -> None:
    ((_, found),) = answered(lambda: "begins \ud800" + "x" * 1_000_000 + " ends", ("a", 1))
    assert (found["text"][:8], found["text"][-5:]) == ("begins ?", " ends")
    assert len(found["text"]) < 101_000


def test_so_many_pages_can_ask() -> None:
    assert len(answered(lambda: "here", *(("a", number) for number in range(500)))) == 100
