"""Every kind of message: what a rank packs is read as the same here, and garbage of any sort harms nobody."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nblaunch
from nblaunch.events import (
    Asked,
    Displayed,
    DisplayKind,
    Finished,
    Imported,
    LastWord,
    QuestionKind,
    QuestionWithdrawn,
    Raised,
    SessionEnded,
)
from nblaunch.messages.decoder import KINDS, decode
from nblaunch.messages.displays import Display
from nblaunch.messages.imports import HeavyImports
from nblaunch.messages.message import Message
from nblaunch.messages.questions import DebuggerLeft, Question, QuestionTakenBack
from nblaunch.messages.reports import ErrorReport, HeldReport
from nblaunch.messages.values import Value
from nblaunch.payload import Packed, Stored, pack, pack_named, pack_plain, store, unpack

ERROR = ValueError("no")

SAMPLES: list[tuple[Message, object]] = [
    (Value(pack([1, 2])), Finished(3, bytearray(bytes(pack([1, 2]))), 2.5)),
    (ErrorReport("E", "no", "Traceback", 1.5), Raised(3, "E: no", "Traceback", 2.5, 1.5)),
    (HeldReport("E", "", "Traceback", 1.5), Raised(3, "E", "Traceback", 2.5, 1.5, held=True)),
    (Display(DisplayKind.NEW, {"a": "<b>"}), Displayed(3, DisplayKind.NEW, {"a": "<b>"}, {}, None, 2.5)),
    (Display(DisplayKind.UPDATE, {}, {"m": 1}, "d"), Displayed(3, DisplayKind.UPDATE, {}, {"m": 1}, "d", 2.5)),
    (Display(DisplayKind.CLEAR, wait=True), Displayed(3, DisplayKind.CLEAR, {}, {}, None, 2.5, wait=True)),
    (
        Question(QuestionKind.COMMAND, "ipdb> ", "text \udcff", "here", 2, (1 << 64) - 1),
        Asked(3, (1 << 64) - 1, QuestionKind.COMMAND, "ipdb> ", "text \udcff", "here", 2, 2.5),
    ),
    (QuestionTakenBack(7), QuestionWithdrawn(3, 7, 2.5)),
    (DebuggerLeft(2, "last words", True), SessionEnded(3, 2, "last words", True, 2.5)),
    (HeavyImports(("torch._dynamo", "a")), Imported(3, ("torch._dynamo", "a"), 2.5)),
]  # fmt: skip


def sent(message: Message) -> bytearray:
    """Return the bytes that the gang receives."""
    packed = message.pack()
    assert not isinstance(packed, Stored)
    return bytearray(bytes(packed))


def again(message: Message) -> Message:
    read = decode(3, message.KIND, sent(message))
    assert read is not None
    return read


def test_there_is_a_sample_of_every_kind() -> None:
    """A new message: a class, its line in the decoder, and one here."""
    assert {type(message) for message, _ in SAMPLES} == set(KINDS.values())
    assert [made for made in _subclasses(Message) if KINDS.get(made.KIND) is not made] == []  # type: ignore[type-abstract]


def _subclasses(of: type[Message]) -> Iterator[type[Message]]:
    for made in of.__subclasses__():
        yield made
        yield from _subclasses(made)


@pytest.mark.parametrize(("message", "event"), SAMPLES, ids=lambda one: type(one).__name__)
def test_what_is_packed_is_read_as_the_same(message: Message, event: Any) -> None:
    read = again(message)
    assert type(read) is type(message)
    if not isinstance(message, Value):
        assert read == message
    told = read.event(3, 2.5)
    if isinstance(told, Raised):
        assert told.report is read
        told = Raised(told.rank, told.summary, told.traceback, told.at, told.raised_at, told.held)
    assert told == event


def test_the_last_words() -> None:
    assert {name: made.LAST_WORD for name, made in KINDS.items() if made.LAST_WORD is not None} == {
        Value.KIND: LastWord.VALUE,
        ErrorReport.KIND: LastWord.ERROR,
    }


def test_a_value_is_passed_on_unread_and_without_a_copy() -> None:
    body = bytearray(b"no value at all")
    message = decode(0, Value.KIND, body)
    assert isinstance(message, Value)
    event = message.event(0, 1.0)
    assert event.body is body
    parts = [memoryview(b"stream"), memoryview(b"buffer")]
    message = decode(0, Value.KIND, parts)
    assert isinstance(message, Value)
    assert message.event(0, 1.0).body is parts


def test_an_exception_travels_and_is_not_rebuilt_by_reading() -> None:
    packed = ErrorReport.of(Rebuilt("boom"), "Traceback")
    before = Rebuilt.times
    report = again(packed)
    assert isinstance(report, ErrorReport)
    assert (report.type_name, report.text, Rebuilt.times) == ("Rebuilt", "boom", before)
    assert isinstance(unpack(report.exception), Rebuilt)
    assert Rebuilt.times == before + 1


class Rebuilt(Exception):
    times = 0

    def __setstate__(self, state: object) -> None:
        type(self).times += 1


def test_large_displays_are_read_where_they_are_mapped() -> None:
    display = Display(DisplayKind.NEW, {"image/png": "x" * 3_000_000})
    with store(display.pack()) as stored:
        (parts,) = stored.parts()
        assert decode(0, Display.KIND, parts) == display


def test_what_is_shown_of_texts_is_bounded() -> None:
    long = "begins " + "x" * 1_000_000 + " ends"
    asked = again(Question(QuestionKind.LINE, long, long, long)).event(0, 1.0)
    assert isinstance(asked, Asked)
    assert {len(text) for text in (asked.prompt, asked.text, asked.where)} == {200_000}
    assert asked.text.endswith(" ends")
    left = again(DebuggerLeft(1, long, False)).event(0, 1.0)
    assert isinstance(left, SessionEnded)
    assert len(left.text) == 200_000


GOOD: dict[str, dict[str, Any]] = {
    Display.KIND: {"kind": "display", "data": {"a": "<b>"}, "metadata": {}, "display_id": None, "wait": False},
    Question.KIND: {"kind": "input", "prompt": "?", "text": "", "where": "", "session": 0, "number": 1},
    QuestionTakenBack.KIND: {"number": 1},
    DebuggerLeft.KIND: {"session": 1, "text": "", "quit": False},
}  # fmt: skip
NO_FIELDS: list[object] = [None, [], "text", 7, {}, {"other": 1}, [[]], [1], {"1": []}]
NO_FIELD: list[object] = [None, [], {}, "spoilt", 5, -1, 1 << 64, 0.5, True, ["display"]]
SPOILT: list[tuple[type[Message], object]] = [
    *((made, body) for made in KINDS.values() for body in NO_FIELDS),
    *(
        (KINDS[kind], good | {name: spoilt})
        for kind, good in GOOD.items()
        for name in good
        for spoilt in NO_FIELD
        if type(spoilt) is not type(good[name]) or name in ("kind", "number")
        if (name, spoilt) not in (("number", 5), ("display_id", "spoilt"))
    ),
    (Display, GOOD[Display.KIND] | {"kind": "update"}),
]  # fmt: skip


@pytest.mark.parametrize(("made", "spoilt"), SPOILT, ids=str)
def test_what_makes_no_sense(made: type[Message], spoilt: object, caplog: pytest.LogCaptureFixture) -> None:
    _assert_fault(made, bytearray(bytes(pack_plain(spoilt))), caplog)


NO_PLAIN = [
    b"",
    b"garbage",
    bytes(Packed(b"garbage", [], set())),
    bytes(Packed(b"[" * 100_000, [], set())),
    bytes(pack(ERROR)),
    bytes(pack_named({"kind": "display"})),
]
MAPPED: list[object] = [[], [memoryview(b"garbage")], [memoryview(b"[]"), memoryview(b"")]]


@pytest.mark.parametrize("made", KINDS.values(), ids=lambda made: made.KIND)
@pytest.mark.parametrize("body", [*NO_PLAIN, *MAPPED], ids=lambda body: repr(body)[:30])
def test_bytes_that_are_no_message(made: type[Message], body: Any, caplog: pytest.LogCaptureFixture) -> None:
    _assert_fault(made, bytearray(body) if isinstance(body, bytes) else body, caplog)


def _assert_fault(made: type[Message], body: Any, caplog: pytest.LogCaptureFixture) -> None:
    if made is HeavyImports and body == sent(HeavyImports(())):
        return  # none at all makes sense
    message = decode(3, made.KIND, body)
    if made is Value:
        assert isinstance(message, Value)  # rebuilt by whoever asks for it
    elif issubclass(made, ErrorReport):
        # the rank has failed, whatever it has said of that
        assert isinstance(message, made)
        assert message.problem.startswith("it sent bytes that are no exception (")
        assert message.problem.endswith(
            "). Look for code in this rank that writes to descriptors or sockets which it has not opened itself"
        )
        event = message.event(3, 2.5)
        assert (event.summary, event.raised_at, event.held) == (message.problem, 2.5, made is HeldReport)
    else:
        assert message is None
        verb = {Display: "displayed", HeavyImports: "imported"}.get(made, "asked")
        assert f"rank 3 {verb} what makes no sense: " in caplog.text


def test_a_kind_that_there_is_not_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert decode(3, "surprise", bytearray(b"x")) is None
    assert "rank 3 sent a message of a kind that there is not: 'surprise'" in caplog.text


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a kind, and the body of a good message with a piece of it cut out, changed, or put in."""
    message, _ = draw(st.sampled_from(SAMPLES))
    body = sent(message)
    start = draw(st.integers(0, len(body)))
    body[start : start + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return draw(st.sampled_from([message.KIND, *KINDS])), bytes(body)


@settings(max_examples=500)
@given(spoilt() | st.tuples(st.sampled_from([*KINDS]), st.binary(max_size=200)))
def test_garbage_of_any_sort_is_a_fault_and_no_error(garbled: tuple[str, bytes]) -> None:
    kind, body = garbled
    message = decode(3, kind, bytearray(body))
    if message is None:
        assert KINDS[kind].LAST_WORD is None  # a rank that has said its last word has ended, whatever it was
        return
    event = message.event(3, 2.5)
    if isinstance(event, Raised):
        assert len(event.summary.splitlines()) <= 1
    if isinstance(event, (Asked, QuestionWithdrawn)):
        assert 0 <= event.number < 1 << 64  # or it could not be answered


# ---- the kinds stand in one place

SOURCES = sorted(Path(nblaunch.__file__).parent.rglob("*.py"))


def test_the_name_of_a_kind_stands_in_one_place() -> None:
    """Nobody compares the kind of a message, or what a rank has reported, with a text, nor sends under one."""
    found = [
        f"{path}:{ast.unparse(node)}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _compares_or_sends_a_kind(node)
    ]
    assert found == []


def _compares_or_sends_a_kind(node: Any) -> bool:
    if isinstance(node, ast.Call):
        sends = isinstance(node.func, ast.Attribute) and node.func.attr in ("send", "tell")
        return sends and any(isinstance(each, ast.Constant) and each.value in KINDS for each in node.args)
    if isinstance(node, ast.Compare):
        texts = {inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)}
        names = {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
        return bool(texts & KINDS.keys() and names & {"kind", "KIND", "reported", "LAST_WORD"})
    return False


def test_names_of_kinds_that_mean_nothing_else_stand_in_messages_only() -> None:
    telling = KINDS.keys() - {"value", "error", "held", "display", "ask"}
    assert telling == {"unask", "session_ended", "imported"}
    places = {
        path.parent.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in telling
    }
    assert places == {"messages"}
