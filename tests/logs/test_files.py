"""Whole lines come out of a growing file, wherever its writer broke off."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nblaunch.logs import following as following_module
from nblaunch.logs.files import LogFile
from nblaunch.logs.following import LogFollower
from nblaunch.processes._linux import punch_hole
from tests.logs.readers import following, read_log

if TYPE_CHECKING:
    from pathlib import Path


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stdout.log"


def test_a_file_that_is_not_there_yet_has_no_lines(path: Path) -> None:
    with following(path) as log:
        assert log.read() == []
        assert log.read(final=True) == []
        assert log.unread() == 0
        append(path, b"here\n")
        assert log.read() == ["here"]


def test_half_a_line_waits_for_its_other_half(path: Path) -> None:
    with following(path) as log:
        append(path, b"hel")
        assert log.read() == []
        append(path, b"lo\nwor")
        assert log.read() == ["hello"]
        append(path, b"ld\n")
        assert log.read() == ["world"]
        assert log.read() == []


def test_a_final_read_returns_the_unended_line_once(path: Path) -> None:
    with following(path) as log:
        append(path, b"one\ntwo")
        assert log.read(final=True) == ["one", "two"]
        assert log.read(final=True) == []


def test_a_final_read_goes_to_the_end_whatever_the_limit(path: Path) -> None:
    with following(path) as log:
        append(path, b"0123456789\n" * 100)
        assert log.read(final=True, limit=7) == ["0123456789"] * 100


def test_a_character_split_between_writes_survives(path: Path) -> None:
    with following(path) as log:
        append(path, "λ".encode()[:1])
        assert log.read() == []
        append(path, "λ".encode()[1:] + b"\n")
        assert log.read() == ["λ"]


def test_bytes_that_are_not_utf8_are_replaced(path: Path) -> None:
    with following(path) as log:
        append(path, b"\xff\nfine\n")
        assert log.read() == ["\ufffd", "fine"]


def test_every_kind_of_line_end(path: Path) -> None:
    with following(path) as log:
        append(path, b"unix\ndos\r\n 10%\r 20%\r\n\nform\x0cfeed\n")
        assert log.read() == ["unix", "dos", " 10%", " 20%", "", "form\x0cfeed"]


def test_a_carriage_return_at_the_end_waits_for_a_newline(path: Path) -> None:
    with following(path) as log:
        append(path, b"dos\r")
        assert log.read() == []
        append(path, b"\nbar 1%\r")
        assert log.read() == ["dos"]
        append(path, b"bar 2%\r")
        assert log.read() == ["bar 1%"]
        assert log.read(final=True) == ["bar 2%"]


def test_a_final_carriage_return_alone_is_an_empty_line(path: Path) -> None:
    with following(path) as log:
        append(path, b"a\n\r")
        assert log.read(final=True) == ["a", ""]


def test_the_limit_bounds_each_call_and_the_offset_tells_how_far(path: Path) -> None:
    with following(path) as log:
        append(path, b"aaaa\nbbbb\n")
        assert log.read(limit=3) == []
        assert (log.offset, log.unread()) == (3, 7)
        assert log.read(limit=3) == ["aaaa"]
        assert log.read(limit=4) == ["bbbb"]
        assert (log.offset, log.unread()) == (10, 0)
        assert log.read(limit=4) == []
        assert log.offset == 10


def test_what_was_released_is_one_line(path: Path) -> None:
    with following(path) as log:
        append(path, b"first\nhal")
        assert log.read() == ["first"]
        append(path, b"f\n" + b"0123456789abcde\n" * 1024)
        with path.open("r+b") as file:
            punch_hole(file.fileno(), 0, 12_288)
        assert (log.released(), log.unread()) == (12_279, 16_386)
        note = "[… 12 kB of older output released: the log is longer than --max-log …]"
        lines = log.read()
        # the first whose beginning is not there
        assert lines == ["hal", note, "56789abcde", *["0123456789abcde"] * 256]
        assert (log.released(), log.unread()) == (0, 0)


def test_a_file_that_was_cut_is_read_from_its_beginning(path: Path) -> None:
    with following(path) as log:
        append(path, b"one\ntwo\n")
        assert log.read() == ["one", "two"]
        path.write_bytes(b"new\n")
        assert log.unread() == 4
        assert log.read() == ["new"]
        path.write_bytes(b"3\n")
        assert log.read() == ["3"]
        os.truncate(path, 0)
        assert log.read(final=True) == []
        append(path, b"end")
        assert log.read(final=True) == ["end"]


def test_zeros_that_a_rank_wrote_are_text(path: Path) -> None:
    with following(path) as log:
        append(path, b"\0\0one\n")
        assert log.read() == ["\0\0one"]


def test_a_limit_that_reads_nothing_is_refused(path: Path) -> None:
    with following(path) as log, pytest.raises(ValueError, match="limit must be at least 1 byte, got 0"):
        log.read(limit=0)


def test_an_endless_line_does_not_fill_the_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following_module, "MAX_LINE_BYTES", 10)
    with following(path) as log:
        append(path, b"x" * 25)
        pieces = [line for _ in range(4) for line in log.read(limit=8)]
        assert pieces == ["x" * 16]
        assert log.read(final=True) == ["x" * 9]


def test_closing_keeps_the_place_and_leaks_nothing(path: Path) -> None:
    append(path, b"one\ntwo\n")
    before = open_descriptors()
    file = LogFile(path)
    log = LogFollower(file)
    assert log.read(limit=4) == ["one"]
    assert len(open_descriptors() - before) == 1
    file.close()
    file.close()
    assert open_descriptors() == before
    assert log.read() == ["two"]
    file.close()


def test_a_directory_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with following(tmp_path) as log, pytest.raises(IsADirectoryError):
        log.read()


def test_the_null_device_is_an_empty_file() -> None:
    with following(os.devnull) as log:
        assert log.read() == log.read(final=True) == []


@given(
    writes=st.lists(st.text(alphabet="a\r\né𝄞", max_size=8).map(str.encode), max_size=8),
    limit=st.integers(1, 9),
)
def test_lines_do_not_depend_on_how_they_were_written_or_read(
    tmp_path_factory: pytest.TempPathFactory, writes: list[bytes], limit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "hypothesis.log"
    path.unlink(missing_ok=True)
    lines = []
    with following(path) as log:
        for write in writes:
            append(path, write)
            lines += log.read(limit=limit)
        lines += log.read(final=True)
    whole = b"".join(writes).decode().replace("\r\n", "\n").replace("\r", "\n")
    assert lines == whole.removesuffix("\n").split("\n") if whole else lines == []


def test_the_last_bytes_of_a_log_that_begin_within_a_line_have_a_mark(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nsücond\nthird\n", encoding="utf-8")
    path = str(log)
    assert read_log(path) == read_log(path, 100) == "first\nsücond\nthird\n"
    assert read_log(path, 6) == "third\n"
    assert read_log(path, 7) == "…\nthird\n"
    assert read_log(path, 10) == "…ond\nthird\n"
    # half of a character is left out
    assert read_log(path, 12) == "…cond\nthird\n"
    assert read_log(path, 14) == "sücond\nthird\n"
