"""What a rank writes to its two streams stays in order."""

from __future__ import annotations

from pathlib import Path

import nblaunch
from nblaunch.logs.arrivals import Arrivals
from nblaunch.logs.files import add_note, order_path, pack_order, read_notes
from nblaunch.logs.reader import STDERR, STDOUT
from nblaunch.panel.tails import in_order
from tests.logs.readers import logs_of


def alternate(count: int) -> None:
    import sys

    print("careful", file=sys.stderr)
    for number in range(count):
        print("step", number)
        print("loss", number, file=sys.stderr)
    print("one stream only")
    print("has no notes")


def shown(out: Path, err: Path) -> list[tuple[int, str]]:
    arrivals = Arrivals(logs_of([out], [err]))
    # only when all is over, as for a quick cell
    arrivals.look()
    return [(line.stream, line.text) for line in in_order(arrivals.read("0", 0, arrivals.size("0")))]


def blocks_beside(out: Path) -> list[tuple[int, int, int]]:
    return [note for note in read_notes(order_path(str(out)), 0)[0] if note[0]]


def test_lines_of_both_streams_are_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    nblaunch.launch(alternate, 1, args=(50,), log_dir=str(tmp_path))
    (out,) = tmp_path.rglob("stdout.log")
    expected = [(STDERR, "careful")]
    for number in range(50):
        expected += [(STDOUT, f"step {number}"), (STDERR, f"loss {number}")]
    expected += [(STDOUT, "one stream only"), (STDOUT, "has no notes")]
    assert shown(out, out.with_name("stderr.log")) == expected


def test_a_rank_that_writes_to_one_stream_writes_no_notes(tmp_path: Path) -> None:
    nblaunch.launch(print, 2, args=("hello",), log_dir=str(tmp_path))
    assert len(list(tmp_path.rglob("stdout.log"))) == 2
    assert list(tmp_path.rglob(".order")) == []


def test_notes_that_make_no_sense_lose_nothing(tmp_path: Path) -> None:
    out, err = tmp_path / "stdout.log", tmp_path / "stderr.log"
    out.write_text("a\nb\n")
    err.write_text("c\nd\n")
    # backwards, and beyond the end; and the last one is still being written
    notes = [(2, 0), (0, 2), (-5, -5), (10**12, 0), (3, 10**12)]
    Path(order_path(str(out))).write_bytes(b"".join(pack_order(*note) for note in notes) + b"abc")
    assert sorted(text for _, text in shown(out, err)) == ["a", "b", "c", "d"]
    assert read_notes(order_path(str(out)), 0) == ([(0, *note) for note in notes], 85)


def test_lines_that_are_written_at_once_are_noted(tmp_path: Path) -> None:
    cell = """print("single")
print("begun: ", end="")
print("one\\ntwo")
print("another line\\n")
import sys
sys.stderr.write("Warning: three\\nfour\\n")
try:
    sys.stdout.write(5)
except TypeError as error:
    print(error)"""
    nblaunch.launch(cell, 1, log_dir=str(tmp_path))
    (out,) = tmp_path.rglob("stdout.log")
    blocks = blocks_beside(out)
    streams = {STDOUT: out.read_bytes(), STDERR: out.with_name("stderr.log").read_bytes()}
    assert streams[STDOUT].splitlines()[-1].startswith(b"write() argument must be str, not int")
    # what stood in the line already is part of it
    assert [streams[stream][start:end] for stream, start, end in blocks] == [
        b"begun: one\ntwo",
        b"Warning: three\nfour\n",
    ]


def test_of_many_such_texts_the_first_ones_are_noted(tmp_path: Path) -> None:
    nblaunch.launch("for number in range(1500):\n    print('one\\ntwo')", 1, log_dir=str(tmp_path))
    (out,) = tmp_path.rglob("stdout.log")
    assert len(blocks_beside(out)) == 1000
    assert out.read_bytes() == b"one\ntwo\n" * 1500


def test_a_note_of_which_there_is_only_a_part_is_the_last_one(tmp_path: Path) -> None:
    path = str(tmp_path / ".order")
    assert add_note(path, pack_order(1, 2))
    with open(path, "ab") as file:
        # as a full disk has it, or a process that the rank has forked
        file.write(pack_order(3, 4)[:5])
    assert not add_note(path, pack_order(5, 6))
    assert read_notes(path, 0) == ([(0, 1, 2)], 17)


def test_files_that_grow_are_in_order_too(tmp_path: Path) -> None:
    out, err = tmp_path / "stdout.log", tmp_path / "stderr.log"
    arrivals = Arrivals(logs_of([out], [err]))
    for number in range(3):
        with out.open("a") as o, err.open("a") as e, Path(order_path(str(out))).open("ab") as notes:
            e.write(f"bar {number}\n")
            e.flush()
            notes.write(pack_order(out.stat().st_size, err.stat().st_size))
            o.write(f"line {number}\n")
            o.flush()
            notes.write(pack_order(out.stat().st_size, err.stat().st_size))
        assert arrivals.look() == {0}
    texts = [line.text for line in in_order(arrivals.read("0", 0, arrivals.size("0")))]
    assert texts == ["bar 0", "line 0", "bar 1", "line 1", "bar 2", "line 2"]
    assert arrivals.look() == set()
