"""The door to the logs of ranks: what is read through it, on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nblaunch.logs.files import add_note, order_path, pack_block, pack_order, text_of
from nblaunch.logs.following import LogFollower
from nblaunch.logs.reader import STDERR, STDOUT, LocalLogs, LogReader, RankLog
from nblaunch.logs.run_logs import RankLogs
from nblaunch.processes._linux import punch_hole


@pytest.fixture
def reader(tmp_path: Path) -> LogReader:
    stdouts = {rank: str(tmp_path / str(rank) / "stdout.log") for rank in range(2)}
    stderrs = {rank: str(tmp_path / str(rank) / "stderr.log") for rank in range(2)}
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    return LocalLogs(str(tmp_path), {rank: (stdouts[rank], stderrs[rank]) for rank in stdouts})


def write(reader: LogReader, rank: int, stream: int, data: bytes) -> None:
    with open(reader.place(rank, stream), "ab") as file:
        file.write(data)


def test_parts_of_each_log_are_read(reader: LogReader, tmp_path: Path) -> None:
    write(reader, 0, STDOUT, b"one\ntwo\n")
    write(reader, 1, STDERR, b"three\n")
    assert (reader.nprocs, reader.path) == (2, str(tmp_path))
    assert [reader.sizes(rank) for rank in range(2)] == [(8, 0), (0, 6)]
    assert reader.read(0, STDOUT, 4, 100) == b"two\n"
    assert reader.read(1, STDERR, 0, 3) == b"thr"
    assert reader.read(1, STDERR, 6, 3) == b""
    assert reader.tail(0, STDOUT, 3) == b"wo\n"
    assert reader.tail(0, STDOUT, 100) == b"one\ntwo\n"
    assert reader.is_at_hand(0, STDOUT, 0, 8)
    assert reader.place(1, STDERR) == str(tmp_path / "1" / "stderr.log")


def test_a_log_that_was_never_written_has_nothing_and_cannot_be_read(reader: LogReader) -> None:
    assert reader.sizes(1) == (0, 0)
    with pytest.raises(FileNotFoundError):
        reader.read(1, STDOUT, 0, 1)
    assert text_of(RankLog(reader, 1, STDOUT)) == ""


def test_a_log_that_is_gone_keeps_its_size_and_cannot_be_read(reader: LogReader) -> None:
    write(reader, 0, STDOUT, b"one\n")
    assert reader.sizes(0) == (4, 0)
    Path(reader.place(0, STDOUT)).unlink()
    assert reader.sizes(0) == (4, 0)
    for read in (lambda: reader.tail(0, STDOUT, 2), lambda: reader.held_from(0, STDOUT, 0)):
        with pytest.raises(FileNotFoundError):
            read()


def test_nothing_is_read_but_files(reader: LogReader, tmp_path: Path) -> None:
    os.mkfifo(reader.place(0, STDOUT))
    (tmp_path / "secret").write_text("of somebody else")
    Path(reader.place(0, STDERR)).symlink_to(tmp_path / "secret")
    for stream in (STDOUT, STDERR):
        with pytest.raises(FileNotFoundError, match="it is no file any more"):
            reader.read(0, stream, 0, 10)


def test_what_was_released_is_passed_over(reader: LogReader) -> None:
    write(reader, 0, STDOUT, b"0123456789abcde\n" * 1024)
    with open(reader.place(0, STDOUT), "r+b") as file:
        punch_hole(file.fileno(), 0, 8192)
    assert [reader.held_from(0, STDOUT, start) for start in (0, 100, 8192, 9000)] == [8192, 8192, 8192, 9000]
    assert reader.read(0, STDOUT, 8190, 4) == b"\0\x0001"


def test_notes_are_read_on_from_where_the_last_ones_ended(reader: LogReader) -> None:
    assert reader.notes(0, 0) == ([], 0)
    path = order_path(reader.place(0, STDOUT))
    add_note(path, pack_order(3, 4))
    notes, end = reader.notes(0, 0)
    assert notes == [(0, 3, 4)]
    add_note(path, pack_block(STDERR, 5, 9))
    assert reader.notes(0, end)[0] == [(STDERR, 5, 9)]


def test_what_a_user_has_of_a_rank_is_read_through_the_door(reader: LogReader, tmp_path: Path) -> None:
    write(reader, 1, STDOUT, b"x" * 20_000 + b"\nend\n")
    write(reader, 1, STDERR, b"oops\n")
    logs = RankLogs(reader, 1)
    assert logs.path == str(tmp_path / "1")
    assert (len(logs.stdout), logs.stderr) == (20_005, "oops\n")
    assert logs.ends() == (f"…{'x' * (16_384 - 5)}\nend\n", "oops\n")
    assert repr(logs) == f"RankLogs({logs.path!r})"


def test_a_log_is_followed_without_being_kept_open(reader: LogReader) -> None:
    before = set(os.listdir("/proc/self/fd"))
    follower = LogFollower(RankLog(reader, 0, STDOUT))
    assert (follower.read(), follower.unread(), follower.released()) == ([], 0, 0)
    write(reader, 0, STDOUT, b"one\ntw")
    assert follower.read() == ["one"]
    write(reader, 0, STDOUT, b"o\nthree")
    assert follower.read(limit=2) == ["two"]
    assert follower.read(final=True) == ["three"]
    assert set(os.listdir("/proc/self/fd")) == before
