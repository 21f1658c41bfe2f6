"""What is a message of a page, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from nblaunch.panel.page_messages import FROM_PAGES, TO_PAGES, Tick, fits, read

ASKED = {"client": "a", "n": 1, "kind": "page", "id": 1, "log": "0", "from": 0, "to": 1}


@pytest.mark.parametrize(
    "content",
    [
        {"client": "a", "n": 1, "kind": "hello"},
        {"client": "a", "n": 1, "kind": "here", "shared": False, "widget": "token", "buffers": False},
        {"client": "a", "n": 1, "kind": "ack", "seq": 3, "logs": ["0", "all"]},
        ASKED,
        {**ASKED, "exact": True, "again": True},
        # of a page of a later version
        {**ASKED, "more": [1]},
    ],
)
def test_a_message_is_read_as_it_is(content: dict[str, Any]) -> None:
    assert read(content) is content


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"client": "a", "n": 1},
        {"client": 3, "n": 1, "kind": "hello"},
        {"client": "a", "n": "1", "kind": "gone"},
        {"client": "a", "n": True, "kind": "gone"},
        {"client": "a", "kind": "stop"},
        {"client": "a", "n": 1, "kind": "hi"},
        {"client": "a", "n": 1, "kind": ["hello"]},
        {"client": "a", "n": 1, "kind": "here"},
        {"client": "a", "n": 1, "kind": "hello", "buffers": "no"},
        {"client": "a", "n": 1, "kind": "ack", "seq": "x", "logs": []},
        {"client": "a", "n": 1, "kind": "watch", "logs": "0"},
        {"client": "a", "n": 1, "kind": "watch", "logs": ["0", None]},
        {**ASKED, "id": None},
        {"client": "a", "n": 1, "kind": "stacks", "id": "7"},
        {"client": "a", "n": 1, "kind": "stacks", "id": 7.5},
        {**ASKED, "from": "0"},
        {**ASKED, "to": 1.5},
        {**ASKED, "exact": 1},
    ],
)
def test_what_is_no_message_is_passed_over(content: object) -> None:
    assert read(content) is None


TICK = {"kind": "tick", "seq": 1, "clock": 1, "sizes": {"0": 4}, "chunks": []}


@pytest.mark.parametrize(
    ("more", "is_tick"),
    [
        ({}, True),
        ({"ranks": {"0": {"pid": None, "ended": 1.5, "root": True}}, "history": {"0": [1, 2]}}, True),
        ({"chunks": [{"log": "0", "offset": 0, "pieces": [[0, 1, 4], (0, 2, 3)]}]}, True),
        ({"chunks": [{"log": "0", "offset": 0, "pieces": [[0, 1]]}]}, False),
        ({"ranks": {"0": {"pid": "1"}}}, False),
        ({"ranks": {0: {}}}, False),
        ({"sizes": {"0": None}}, False),
        ({"clock": True}, False),
        # what the other side does not know of is not sent
        ({"more": 1}, False),
        ({"run": {"more": 1}}, False),
    ],
)
def test_a_tick_is_checked_down_to_its_parts(more: dict[str, Any], is_tick: bool) -> None:
    assert fits({**TICK, **more}, Tick, exactly=True) is is_tick


def test_each_kind_is_told_once_in_each_direction() -> None:
    for shapes in (FROM_PAGES, TO_PAGES):
        kinds = [shape.__annotations__["kind"].__forward_arg__ for shape in shapes]
        assert len(set(kinds)) == len(kinds)
