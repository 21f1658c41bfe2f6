"""What a terminal shows of bytes."""

from __future__ import annotations

import pytest

from nblaunch.panel.terminal import Style, last_line, render, visible


def texts(data: bytes) -> list[str]:
    return [line.text for line in render(data)]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb", ["a", "b"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"10%\r20%\r100%\n", ["100%"]),
        (b"longer\rab", ["abnger"]),
        (b"longer\r\x1b[Kab", ["ab"]),
        (b"abc\b\bX", ["aXc"]),
        (b"a\tb", ["a       b"]),
        (b"abc\x1b[2DX", ["aXc"]),
        (b"abc\x1b[1GX", ["Xbc"]),
        (b"a\x1b[3Cb", ["a   b"]),
        (b"abcdef\x1b[3D\x1b[1K", ["    ef"]),
        (b"abcdef\x1b[2K", []),
        (b"ab\ncd\nef\x1b[2A\x1b[1G\x1b[Jx", ["x", ""]),
        (b"ab\ncd\n\x1b[2A\x1b[2Bef", ["ab", "cd", "ef"]),
        # two nested bars, as tqdm draws them
        (b"outer 0\n\rinner 0\x1b[A\router 1\n\rinner 1\n", ["outer 1", "inner 1"]),
        (b"\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", ["link"]),
        (b"\x1b]0;title\x07x", ["x"]),
        (b"\x1b[?25lx\x1b[?25h", ["x"]),
        (b"\x1b(Bx\x1b=y", ["xy"]),
        (b"\x1bPsixel\x1b\\x\x1b]0;title\x1b[1mx", ["xx"]),
        # one stray escape does not take away what follows
        (b"\x1b]0;title\nx", ["", "x"]),
        ("a\x1bäb".encode(), ["a␛äb"]),
        # what an excerpt breaks off
        (b"x\x1b", ["x"]),
        (b"x\x1b[3", ["x"]),
        (b"x\x1b]8;;http", ["x"]),
        # not what they look like
        (b"ab\x1b[?1K\x1b[1 Kc", ["abc"]),
        (b"ab\x1b[00Kc\x1b[1K", []),
        (b"\xff\xfea", ["\ufffd\ufffda"]),
        (b"a\0b\x07", ["a␀b␇"]),
        ("a\u202eb\u2066c".encode(), ["a⟨U+202E⟩b⟨U+2066⟩c"]),
        ("\u0085x\u007f".encode(), ["⟨U+0085⟩x␡"]),
    ],
)
def test_lines(data: bytes, lines: list[str]) -> None:
    assert texts(data) == lines


@pytest.mark.parametrize(
    ("codes", "style"),
    [
        ("31", Style(fg=1)),
        ("1;92;44", Style(fg=10, bg=4, bold=True)),
        ("38;5;9", Style(fg=9)),
        ("38;5;16", Style(fg="#000000")),
        ("38;5;231", Style(fg="#ffffff")),
        ("38;5;244", Style(fg="#808080")),
        ("48;2;1;2;255", Style(bg="#0102ff")),
        ("38;2;300;0;0", Style(fg="#ff0000")),
        ("2;3;4;7;9", Style(dim=True, italic=True, underline=True, inverse=True, strike=True)),
        ("38:5:9", Style(fg=9)),
        ("38:2:1:2:3", Style(fg="#010203")),
        ("38:2::1:2:3", Style(fg="#010203")),
        ("58;5;1;31", Style(fg=1)),
        ("4:3", Style(underline=True)),
        ("4;4:0", None),
        ("38;7;31", Style(fg=1)),
        ("?31", None),
        ("1;22", None),
        ("31;39", None),
        ("31;0", None),
        ("38", None),
        ("999", None),
    ],
)
def test_styles(codes: str, style: Style | None) -> None:
    (line,) = render(f"\x1b[{codes}mx".encode())
    assert line.spans == [("x", style)]


def test_a_style_goes_on_in_the_next_line_until_it_is_reset() -> None:
    first, second = render(b"a\x1b[31mb\nc\x1b[0md")
    assert first.spans == [("a", None), ("b", Style(fg=1))]
    assert second.spans == [("c", Style(fg=1)), ("d", None)]


def test_text_that_is_written_over_takes_the_new_style() -> None:
    (line,) = render(b"abc\r\x1b[31mX")
    assert line.spans == [("X", Style(fg=1)), ("bc", None)]


@pytest.mark.parametrize("final", ["A", "C", "D", "G", "m"])
def test_a_number_of_many_digits(final: str) -> None:
    lines = texts(f"x\x1b[{'9' * 200}{final}y\x1b[{'0' * 200}mz".encode())
    assert "".join(lines).endswith("yz")


def test_an_escape_of_thousands_of_digits_is_none() -> None:
    assert texts(f"x\x1b[{'9' * 5000}mz".encode()) == [f"x{'9' * 5000}mz"]


def test_leading_zeros_do_not_count() -> None:
    assert texts(b"abc\x1b[00000000000000000002DX") == ["aXc"]


def test_what_a_cursor_jumps_over_is_bounded() -> None:
    assert texts(b"\x1b[80Gx") == [" " * 79 + "x"]
    assert sum(map(len, texts(b"\x1b[19990Cx\n" * 1000))) < 2_000_000


def test_a_line_without_end_is_cut() -> None:
    lines = texts(b"x" * 45_000)
    assert [len(line) for line in lines] == [20_000, 20_000, 5_000]


def test_a_cursor_goes_up_a_bounded_way() -> None:
    lines = texts(b"".join(b"%d\n" % number for number in range(100)) + b"\x1b[1000AX")
    assert lines[51] == "X1"
    assert lines[0] == "0"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", ""),
        (b"one\ntwo\n\n  \n", "two"),
        (b"10%\r\x1b[32m55%\x1b[0m", "55%"),
        (b"y" * 300, "y" * 199 + "…"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_the_last_line(data: bytes, line: str) -> None:
    assert last_line(data) == line


def test_what_is_visible_stays_as_it_is() -> None:
    assert visible("äöü 漢字 🙂 <b>") == "äöü 漢字 🙂 <b>"


@pytest.mark.parametrize(
    ("data", "redrawn"),
    [
        (b"\r 10%\r100%\nplain\n", [True, False]),
        (b"10%\nbusy\r\x1b[2K\x1b[1A\x1b[2K100%\nidle\n", [True, True]),
        (b"one\r\ntwo\r\r\n", [False, False]),
        (b"\r 10%\r    \rcareful\n\r 20%", [False, True]),
    ],
)
def test_a_line_counts_as_redrawn_if_the_cursor_came_back(data: bytes, redrawn: list[bool]) -> None:
    assert [line.redrawn for line in render(data)] == redrawn
