"""Many log files that read as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from nblaunch.logs.arrivals import ALL, Arrivals
from nblaunch.processes._linux import punch_hole
from tests.logs.readers import logs_of


class Files:
    """Two files for each of some ranks."""

    def __init__(self, folder: Path, nprocs: int) -> None:
        self.out = [folder / f"{rank}.out" for rank in range(nprocs)]
        self.err = [folder / f"{rank}.err" for rank in range(nprocs)]
        self.arrivals = Arrivals(logs_of(self.out, self.err))

    def write(self, rank: int, text: str, *, err: bool = False) -> set[int]:
        with (self.err if err else self.out)[rank].open("a") as file:
            file.write(text)
        return self.arrivals.look()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, 2)


def test_both_streams_of_a_rank_read_in_the_order_of_their_arrival(files: Files) -> None:
    assert files.arrivals.look() == set()
    assert files.write(0, "one\n") == {0}
    assert files.write(0, "oops\n", err=True) == {0}
    assert files.write(0, "two\n") == {0}
    assert files.arrivals.look() == set()
    excerpt = files.arrivals.read("0", 0, 100)
    assert (excerpt.offset, excerpt.data) == (0, b"one\noops\ntwo\n")
    assert excerpt.pieces == [(0, 1, 4), (0, 2, 5), (0, 1, 4)]
    assert files.arrivals.size("0") == 13
    assert files.arrivals.written(0) == (8, 5)


def test_the_log_of_all_has_every_rank(files: Files) -> None:
    files.write(1, "b")
    files.write(0, "a")
    files.write(1, "c\n", err=True)
    excerpt = files.arrivals.read(ALL, 0, 100)
    assert excerpt.data == b"bac\n"
    assert excerpt.pieces == [(1, 1, 1), (0, 1, 1), (1, 2, 2)]


def test_what_follows_in_the_same_file_is_one_part(files: Files) -> None:
    for _ in range(100):
        files.write(0, "x")
    assert files.arrivals.parts == 1
    assert files.arrivals.read("0", 0, 1000).pieces == [(0, 1, 100)]


@pytest.mark.parametrize("start", range(0, 14, 3))
@pytest.mark.parametrize("length", [1, 2, 5, 100])
def test_any_part_can_be_read(files: Files, start: int, length: int) -> None:
    whole = b""
    for number, text in enumerate(("abc", "d", "efgh", "ij", "klmn")):
        files.write(0, text, err=number % 2 == 1)
        whole += text.encode()
    excerpt = files.arrivals.read("0", start, start + length)
    assert excerpt.data == whole[start : start + length]
    assert sum(count for _, _, count in excerpt.pieces) == len(excerpt.data)


def test_lines_are_not_begun_in_their_middle(files: Files) -> None:
    files.write(0, "first\nsecond\n")
    files.write(0, "third\n", err=True)
    excerpt = files.arrivals.read_lines("0", 3, 100)
    assert (excerpt.offset, excerpt.data) == (6, b"second\nthird\n")
    assert excerpt.pieces == [(0, 1, 7), (0, 2, 6)]
    excerpt = files.arrivals.read_lines("0", 8, 100)
    assert (excerpt.offset, excerpt.data, excerpt.pieces) == (13, b"third\n", [(0, 2, 6)])


def test_a_line_without_an_end_is_read_from_where_it_was_asked_for(files: Files) -> None:
    files.write(0, "x" * 100)
    excerpt = files.arrivals.read_lines("0", 30, 100)
    assert (excerpt.offset, len(excerpt.data)) == (30, 70)


def test_addresses_hold_when_a_file_was_cut(files: Files) -> None:
    files.write(0, "abcdef")
    files.write(0, "xyz", err=True)
    files.out[0].write_text("ab")
    # a carriage return shows nothing
    assert files.arrivals.read("0", 0, 9).data == b"ab\r\r\r\rxyz"
    # what it holds now comes behind what it held
    assert files.arrivals.look() == {0}
    assert files.arrivals.look() == set()
    assert files.write(0, "cd\n") == {0}
    assert files.arrivals.read("0", 0, 100).data == b"\r\r\r\r\r\rxyzabcd\n"
    assert files.arrivals.read("0", 4, 100).data == b"\r\rxyzabcd\n"
    assert files.arrivals.read_lines("0", 3, 100).data == b"xyzabcd\n"
    assert (files.arrivals.written(0), files.arrivals.released(0)) == ((11, 3), 6)


def punch(path: Path, end: int) -> None:
    """Release the beginning of a file, as if a rank had written more than the limit."""
    with path.open("r+b") as file:
        punch_hole(file.fileno(), 0, end)


def test_a_line_stands_for_what_was_released(files: Files) -> None:
    files.write(0, "old\n" * 10_000)
    files.write(0, "oops\n", err=True)
    files.write(0, "new\n")
    punch(files.out[0], 36_864)
    note = "[… 37 kB of older output released: the log is longer than --max-log …]\n".encode()
    data = files.arrivals.read("0", 0, 100_000).data
    assert len(data) == 40_009 == files.arrivals.size("0")
    assert data[:36_864] == note.rjust(36_864, b"\r")
    assert data[36_864:] == b"old\n" * 784 + b"oops\nnew\n"
    # a part of it that has no room for the note
    assert files.arrivals.read("0", 36_861, 36_868).data == b"\r\r\rold\n"
    assert (files.arrivals.written(0), files.arrivals.released(0)) == ((40_004, 5), 36_864)


def test_lines_begin_behind_what_was_released(files: Files) -> None:
    files.write(0, "old\n" * 10_000)
    files.write(1, "first\n")
    punch(files.out[0], 36_864)
    # its first line may have lost its beginning
    excerpt = files.arrivals.read_lines(ALL, 0, 36_872)
    assert (excerpt.offset, excerpt.data) == (36_868, b"old\n")
    assert files.arrivals.read_lines("0", 10_000, 20_000).data == b""
    # all of one, and the other, which came later
    punch(files.out[0], 40_960)
    assert files.arrivals.read_lines(ALL, 0, 100_000).data == b"first\n"
    assert files.arrivals.end_of(0, 10) == b""


def test_zeros_that_a_rank_wrote_are_its_own(files: Files) -> None:
    with files.out[0].open("wb") as file:
        file.write(b"\0" * 5000 + b"text\n")
    files.arrivals.look()
    assert files.arrivals.read("0", 0, 6000).data == b"\0" * 5000 + b"text\n"
    assert files.arrivals.released(0) == 0


def test_the_end_of_what_a_rank_wrote_last(files: Files) -> None:
    assert files.arrivals.end_of(0, 10) == b""
    files.write(0, "a long line\n")
    files.write(0, "short", err=True)
    assert files.arrivals.end_of(0, 10) == b"short"
    files.write(0, "end\n")
    # a mark says that it begins within a line
    assert files.arrivals.end_of(0, 8) == "…ine\nend\n".encode()


def test_a_file_that_is_gone_is_an_error_of_the_reader(files: Files) -> None:
    files.write(0, "abc")
    files.out[0].unlink()
    assert files.arrivals.look() == set()
    with pytest.raises(FileNotFoundError):
        files.arrivals.read("0", 0, 3)
    assert files.arrivals.end_of(0, 3) == b""


def test_only_logs_of_ranks_are_known(files: Files) -> None:
    assert [log for log in ("0", "1", "2", "all", "-1", "") if files.arrivals.knows(log)] == ["0", "1", "all"]
