"""Many log files that read as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from nblaunch.panel.arrivals import ALL, Arrivals


class Files:
    """Two files for each of some ranks."""

    def __init__(self, folder: Path, nprocs: int) -> None:
        self.out = [folder / f"{rank}.out" for rank in range(nprocs)]
        self.err = [folder / f"{rank}.err" for rank in range(nprocs)]
        self.arrivals = Arrivals([str(path) for path in self.out], [str(path) for path in self.err])

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
    assert files.arrivals.read("0", 0, 9).data == b"ab\0\0\0\0xyz"
    assert files.arrivals.look() == set()


def test_the_end_of_what_a_rank_wrote_last(files: Files) -> None:
    assert files.arrivals.end_of(0, 10) == b""
    files.write(0, "a long line\n")
    files.write(0, "short", err=True)
    assert files.arrivals.end_of(0, 10) == b"short"
    files.write(0, "end\n")
    assert files.arrivals.end_of(0, 8) == b"ine\nend\n"


def test_a_file_that_is_gone_is_an_error_of_the_reader(files: Files) -> None:
    files.write(0, "abc")
    files.out[0].unlink()
    assert files.arrivals.look() == set()
    with pytest.raises(FileNotFoundError):
        files.arrivals.read("0", 0, 3)
    assert files.arrivals.end_of(0, 3) == b""


def test_only_logs_of_ranks_are_known(files: Files) -> None:
    assert [log for log in ("0", "1", "2", "all", "-1", "") if files.arrivals.knows(log)] == ["0", "1", "all"]
