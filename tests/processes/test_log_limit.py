"""Logs cannot fill the disk: past the limit the oldest part of a file is released."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from nblaunch.processes.watching.log_limit import LogLimit
from tests.logs.readers import read_log

LINE = b"0123456789abcde\n"
BLOCK = 4096


def refuse(descriptor: int, offset: int, length: int) -> None:
    raise OSError(errno.EOPNOTSUPP, "no holes here")


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        os.fsync(file.fileno())  # some file systems count blocks only then


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stdout.log"


# ---- where files can have holes


def test_the_oldest_part_is_released_and_offsets_hold(path: Path) -> None:
    limit = LogLimit([str(path)], 10_000)
    for number in range(1, 21):
        append(path, LINE * 1024)
        assert list(limit.look()) == []
        assert path.stat().st_size == number * 16_384
        assert allocated(path) <= 10_000 + 2 * BLOCK
    data = path.read_bytes()
    kept = data.lstrip(b"\0")
    assert kept == LINE * (len(kept) // len(LINE))
    assert 10_000 <= len(kept) < 10_000 + BLOCK


def test_up_to_the_limit_nothing_is_touched(path: Path) -> None:
    limit = LogLimit([str(path)], 16_384)
    append(path, LINE * 1024)
    limit.look()
    assert path.read_bytes() == LINE * 1024
    # less than a block more: nothing can be given back
    append(path, LINE)
    limit.look()
    assert path.read_bytes() == LINE * 1025


def test_files_may_come_late_and_go(path: Path, tmp_path: Path) -> None:
    limit = LogLimit([str(path), str(tmp_path / "gone" / "stderr.log")], 100)
    limit.look()
    append(path, LINE * 1024)
    limit.look()
    assert allocated(path) <= BLOCK
    path.unlink()
    limit.look()
    # a shorter one in its place
    append(path, LINE * 600)
    limit.look()
    assert allocated(path) <= 2 * BLOCK
    assert path.stat().st_size == 9600


def test_only_log_files_are_touched(path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    append(precious, LINE * 1024)
    path.symlink_to(precious)
    os.mkfifo(tmp_path / "pipe")
    limit = LogLimit([str(path), str(tmp_path / "pipe"), str(tmp_path), os.devnull, ""], 100)
    limit.look()
    assert precious.read_bytes() == LINE * 1024


def test_an_error_concerns_its_file_only(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "stderr.log"
    append(path, LINE * 1024)
    append(other, LINE * 1024)
    real = os.open

    def fail(name: str, *rest: int) -> int:
        if name == str(path):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return real(name, *rest)

    limit = LogLimit([str(path), str(other)], 100)
    monkeypatch.setattr(os, "open", fail)
    with caplog.at_level(logging.WARNING):
        limit.look()
        limit.look()
    assert caplog.messages == [
        f"{path} is not kept below its limit any more: [Errno 13] Permission denied: '{path}'",
    ]
    assert allocated(other) <= BLOCK


# ---- where they cannot


def test_a_file_is_cut_where_it_cannot_have_holes(path: Path) -> None:
    limit = LogLimit([str(path)], 10_000, refuse)
    append(path, LINE * 1024)
    limit.look()
    note = (
        "[… 14 kB of older output cut off: the log is longer than --max-log, and this file system cannot release "
        "a part of a file …]\n"
    )
    assert path.read_text() == note + LINE.decode() * 156
    append(path, b"more\n")
    limit.look()
    assert path.read_text() == note + LINE.decode() * 156 + "more\n"
    append(path, LINE * 1024)
    limit.look()
    assert path.read_text().startswith("[… 30 kB of older output cut off: ")
    assert path.read_text().endswith(LINE.decode() * 156)
    assert path.stat().st_size < 3000


def test_a_writer_goes_on_behind_the_cut(path: Path) -> None:
    with open(path, "ab", buffering=0) as rank:
        rank.write(b"x" * 20_000)
        LogLimit([str(path)], 100, refuse).look()
        rank.write(b"new\n")
    assert path.read_text().endswith("a part of a file …]\n" + "x" * 25 + "new\n")


def test_a_system_that_forbids_holes_is_like_one_without(path: Path) -> None:
    asked = []

    def forbid(descriptor: int, offset: int, length: int) -> None:
        asked.append((offset, length))
        raise PermissionError(errno.EPERM, "forbidden")

    limit = LogLimit([str(path)], 4096, forbid)
    for _ in range(3):
        append(path, LINE * 1024)
        limit.look()
        assert path.stat().st_size < 4096
    assert asked == [(0, 12_288)]  # it is not asked again


# ---- how such files read


def test_a_log_reads_from_where_something_is_left(path: Path) -> None:
    append(path, LINE * 1024)
    assert read_log(str(path)) == LINE.decode() * 1024
    LogLimit([str(path)], BLOCK).look()
    assert read_log(str(path)) == (
        "[… 12 kB of older output released: the log is longer than --max-log …]\n" + LINE.decode() * 256
    )
    assert read_log(str(path), 160) == LINE.decode() * 10
    assert read_log(str(path), 5000).startswith("[… 12 kB of older output released: ")


def test_a_log_may_be_released_altogether(path: Path) -> None:
    append(path, LINE * 1024)
    limit = LogLimit([str(path)], 1)
    append(path, LINE * 256)
    limit.look()
    assert read_log(str(path)).endswith("…]\n" + LINE.decode() * 256)
    os.truncate(path, 0)
    os.truncate(path, 100_000)
    assert read_log(str(path)) == "[… 100 kB of older output released: the log is longer than --max-log …]\n"
