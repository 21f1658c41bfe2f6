"""What a rank has cleared, told from the marks in its logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from nblaunch.logs.clearing import CLEARED, CLEARED_BY_NEXT, last_clearing, without_marks
from tests.logs.readers import following, read_log

NOW, NEXT = CLEARED, CLEARED_BY_NEXT


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"a\nb", b"a\nb"),
        (b"a\n" + NOW, b""),
        (b"a\n" + NOW + b"b\n", b"b\n"),
        (b"a\n" + NEXT, b"a\n" + NEXT),
        (b"a\n" + NEXT + b"b\n", b"b\n"),
        (b"a\n" + NEXT + b"b\n" + NEXT, b"b\n" + NEXT),
        (b"a\n" + NEXT + NEXT, b"a\n" + NEXT + NEXT),
        (b"a\n" + NEXT + NOW, b""),
        (b"a" + NOW + b"b" + NOW + b"c", b"c"),
        (b"a\x1b[?880", b"a\x1b[?880"),
        (b"a\x1b[?8809Jb", b"a\x1b[?8809Jb"),
    ],
)
def test_what_is_to_be_seen(data: bytes, seen: bytes) -> None:
    assert data[last_clearing(data) :] == seen


def test_texts_of_logs_have_no_marks(tmp_path: Path) -> None:
    log = tmp_path / "out"
    log.write_bytes(b"a\n" + NEXT + b"b 1\rb 2" + NOW + b"c\n" + NOW)
    assert without_marks(log.read_bytes().decode()) == "a\nb 1\rb 2c\n"
    assert read_log(str(log)) == "a\nb 1\rb 2c\n"
    with following(log) as follower:
        assert follower.read(final=True) == ["a", "b 1", "b 2c", ""]
    with following(log, overwriting=True) as follower:
        assert follower.read(final=True) == ["a", "c", ""]
