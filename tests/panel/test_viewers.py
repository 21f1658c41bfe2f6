"""Which pages show a panel."""

from __future__ import annotations

import pytest

from nblaunch.panel.page_messages import read
from nblaunch.panel.viewers import Viewers


@pytest.mark.parametrize(
    ("said", "has_left", "takes_updates"),
    [
        ([], False, True),
        ([("a", 1, "hello")], False, True),
        ([("a", 1, "hello"), ("a", 2, "gone")], True, True),
        ([("a", 1, "hello"), ("a", 3, "hello"), ("a", 2, "gone")], False, True),
        ([("a", 1, "hello"), ("b", 1, "hello"), ("a", 2, "gone")], False, True),
        ([("a", 1, "here")], False, True),
        # a server runs the cell, until one of its pages has drawn the panel
        ([("a", 1, "shared")], False, False),
        ([("a", 1, "shared"), ("b", 1, "here")], False, False),
        ([("a", 1, "shared"), ("a", 2, "hello")], False, True),
        ([("a", 1, "stop")], False, True),
    ],
)
def test_what_pages_say_tells_who_shows_it(
    said: list[tuple[str, int, str]], has_left: bool, takes_updates: bool
) -> None:
    viewers = Viewers()
    for client, number, kind in said:
        words = {"kind": "here", "shared": kind == "shared"} if kind in ("here", "shared") else {"kind": kind}
        message = read({"client": client, "n": number, **words})
        assert message is not None
        viewers.note(message)
    assert (viewers.has_left(), viewers.takes_updates()) == (has_left, takes_updates)
