"""Lines of many files arrive whole on one stream, and nothing that happens to that stream hurts."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from nblaunch.processes.tail_log import TailLog, tail_logfile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEVER = 9999.0  # an interval that no test may wait for


class Stream(io.StringIO):
    """A stream that remembers each write and lets a test wait for a text."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()
        self.batches: list[str] = []
        self.flushed = 0

    def write(self, text: str) -> int:
        with self.changed:
            self.batches.append(text)
            self.changed.notify_all()
            return super().write(text)

    def flush(self) -> None:
        with self.changed:
            self.flushed = len(self.batches)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout=30), self.getvalue()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def finished() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_lines_of_every_rank_behind_their_prefix(tmp_path: Path) -> None:
    files = {rank: tmp_path / f"{rank}.log" for rank in (0, 7, 10, 123)}
    for rank, path in files.items():
        append(path, f"hello from {rank}\nbye\n")
    stream = Stream()
    tail = TailLog("trainer", {rank: str(path) for rank, path in files.items()}, stream, interval_sec=NEVER)
    assert tail.start() is tail
    tail.stop()
    assert stream.getvalue().splitlines() == [
        f"[trainer{rank}]:{text}" for rank in files for text in (f"hello from {rank}", "bye")
    ]


def test_own_prefixes_for_some_ranks(tmp_path: Path) -> None:
    files = {rank: tmp_path / f"{rank}.log" for rank in range(2)}
    for path in files.values():
        append(path, "x\n")
    stream = Stream()
    prefixes = {1: "<one> ", 5: "<nobody>"}
    TailLog("t", {rank: str(path) for rank, path in files.items()}, stream, prefixes).start().stop()
    assert stream.getvalue() == "[t0]:x\n<one> x\n"


def test_lines_arrive_while_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    stream = Stream()
    tail = TailLog("t", {0: str(path)}, stream, interval_sec=0.001).start()
    append(path, "hel")
    append(path, "lo\nwor")
    stream.wait_for(lambda: stream.getvalue() == "[t0]:hello\n")
    append(path, "ld\n")
    stream.wait_for(lambda: stream.getvalue() == "[t0]:hello\n[t0]:world\n")
    stream.wait_for(lambda: stream.flushed == 2)
    assert not tail.stopped()
    tail.stop()
    assert tail.stopped()


def test_an_unended_last_line_is_ended(tmp_path: Path) -> None:
    append(tmp_path / "0.log", "Segmentation faul")
    stream = Stream()
    TailLog("t", {0: str(tmp_path / "0.log")}, stream).start().stop()
    assert stream.getvalue() == "[t0]:Segmentation faul\n"


def test_stopping_wakes_the_thread_and_copies_what_was_written_before(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    append(path, "early\n")
    stream = Stream()
    tail = TailLog("t", {0: str(path)}, stream, interval_sec=NEVER).start()
    stream.wait_for(lambda: stream.flushed == 1)
    append(path, "late\n")
    # waiting for the interval would outlast the test
    tail.stop()
    assert stream.getvalue() == "[t0]:early\n[t0]:late\n"


def test_a_file_that_never_comes_does_not_hold_up_stopping(tmp_path: Path) -> None:
    stream = Stream()
    TailLog("t", {0: str(tmp_path / "never.log")}, stream, interval_sec=NEVER).start().stop()
    assert stream.getvalue() == ""


def test_a_writer_who_never_ends_does_not_hold_up_stopping(tmp_path: Path) -> None:
    path = tmp_path / "0.log"

    class Growing(Stream):
        def write(self, text: str) -> int:
            append(path, "more\n")
            return super().write(text)

    append(path, "first\n")
    stream = Growing()
    TailLog("t", {0: str(path)}, stream, interval_sec=NEVER).start().stop()
    assert stream.getvalue().startswith("[t0]:first\n")


def test_a_large_log_is_copied_completely_in_bounded_batches(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    count = 300_000
    append(path, "".join(f"{number}\n" for number in range(count)))
    stream = Stream()
    TailLog("t", {0: str(path)}, stream, interval_sec=NEVER).start().stop()
    assert stream.getvalue() == "".join(f"[t0]:{number}\n" for number in range(count))
    assert 1 < len(stream.batches) < 20
    assert all(batch.endswith("\n") for batch in stream.batches)


def test_lines_of_several_tailers_on_one_stream_stay_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    tails = []
    with target.open("w") as stream:
        for number in range(4):
            append(tmp_path / f"{number}.log", f"{number}" * 50 + "\n")
            tails.append(TailLog("t", {number: str(tmp_path / f"{number}.log")}, stream, interval_sec=0.001))
            tails[-1].start()
        for _ in range(200):
            for number in range(4):
                append(tmp_path / f"{number}.log", f"{number}" * 50 + "\n")
        for tail in tails:
            tail.stop()
    lines = target.read_text().splitlines()
    assert len(lines) == 4 * 201
    assert all(re.fullmatch(r"\[t(\d)\]:\1{50}", line) for line in lines)


def test_one_thread_serves_all_files(tmp_path: Path) -> None:
    before = threading.active_count()
    tail = TailLog("t", {rank: str(tmp_path / f"{rank}") for rank in range(50)}, Stream(), interval_sec=NEVER)
    tail.start()
    tail.start()
    assert threading.active_count() == before + 1
    tail.stop()
    assert threading.active_count() == before


def test_stopping_twice_or_without_start_is_harmless(tmp_path: Path) -> None:
    append(tmp_path / "0.log", "x\n")
    stream = Stream()
    tail = TailLog("t", {0: str(tmp_path / "0.log")}, stream)
    tail.stop()
    tail.stop()
    assert tail.stopped()
    tail.start()
    tail.stop()
    assert stream.getvalue() == ""


def test_nothing_to_tail_or_nowhere_to_show_it(tmp_path: Path) -> None:
    append(tmp_path / "0.log", "x\n")
    before = threading.active_count()
    for tail in (TailLog("t", {}, Stream()), TailLog("t", {0: str(tmp_path / "0.log")}, None)):
        assert tail.start() is tail
        assert threading.active_count() == before
        tail.stop()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    append(tmp_path / "0.log", "x\n")
    before = set(os.listdir("/proc/self/fd"))
    TailLog("t", {0: str(tmp_path / "0.log")}, Stream()).start().stop()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_filter_sees_lines_with_their_end_and_drops_some(tmp_path: Path) -> None:
    append(tmp_path / "0.log", "keep 1\ndrop\nkeep 2")
    stream = Stream()
    seen: list[str] = []

    def wanted(line: str) -> bool:
        seen.append(line)
        return "keep" in line

    TailLog("t", {0: str(tmp_path / "0.log")}, stream, log_line_filter=wanted).start().stop()
    assert stream.getvalue() == "[t0]:keep 1\n[t0]:keep 2\n"
    assert seen == ["keep 1\n", "drop\n", "keep 2\n"]


def test_a_filter_that_raises_ends_its_file_only_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    append(tmp_path / "0.log", "bad\n")
    append(tmp_path / "1.log", "good\n")

    def wanted(line: str) -> bool:
        if line == "bad\n":
            raise RuntimeError("no opinion")
        return True

    stream = Stream()
    files = {rank: str(tmp_path / f"{rank}.log") for rank in range(2)}
    TailLog("t", files, stream, log_line_filter=wanted, interval_sec=0.001).start().stop()
    assert stream.getvalue() == "[t1]:good\n"
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == (
        f"{files[0]} is not shown any further, because reading or filtering its lines failed. "
        "The file itself is complete: read it there."
    )


def test_a_log_that_cannot_be_read_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    append(tmp_path / "1.log", "good\n")
    (tmp_path / "0.log").mkdir()
    stream = Stream()
    files = {rank: str(tmp_path / f"{rank}.log") for rank in range(2)}
    tail = TailLog("t", files, stream, interval_sec=0.001).start()
    stream.wait_for(lambda: stream.flushed == 1)
    tail.stop()
    assert stream.getvalue() == "[t1]:good\n"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is IsADirectoryError


class FullDisk(Stream):
    def write(self, text: str) -> int:
        super().write(text)
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kind", ["closed", "full"])
def test_a_stream_that_fails_is_reported_once(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "0.log"
    stream = FullDisk()
    if kind == "closed":
        stream.close()
    append(path, "one\n")
    tail = TailLog("t", {0: str(path)}, stream, interval_sec=0.001).start()
    stream.wait_for(lambda: len(stream.batches) == 1)
    append(path, "two\n")
    stream.wait_for(lambda: len(stream.batches) == 2)
    tail.stop()
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == (
        f"Lines of {path}, perhaps of other logs too, are missing on {stream!r}, because writing to it "
        "failed; this is said once. The log file itself is complete: read it there."
    )


def test_stopping_from_inside_the_stream_does_not_deadlock(tmp_path: Path) -> None:
    class Stopping(Stream):
        def write(self, text: str) -> int:
            tail.stop()
            return super().write(text)

    append(tmp_path / "0.log", "x\n")
    stream = Stopping()
    tail = TailLog("t", {0: str(tmp_path / "0.log")}, stream)
    tail.start().stop()
    assert stream.getvalue() == "[t0]:x\n"


def test_the_last_lines_are_shown_even_if_nobody_stops(tmp_path: Path) -> None:
    script = """
        import sys
        from nblaunch.processes.tail_log import TailLog
        TailLog("t", {0: sys.argv[1]}, sys.stdout, interval_sec=9999).start()
        with open(sys.argv[1], "w") as file:
            file.write("last words")
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "0.log")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[t0]:last words\n", "")


def test_tail_logfile_without_filter_copies_nothing_as_torchs_does(tmp_path: Path) -> None:
    append(tmp_path / "0.log", "one\ntwo\n")
    stream = Stream()
    tail_logfile("[h]:", str(tmp_path / "0.log"), stream, finished(), NEVER)
    assert stream.getvalue() == ""
    tail_logfile("[h]:", str(tmp_path / "0.log"), stream, finished(), NEVER, lambda _: True)
    assert stream.getvalue() == "[h]:one\n[h]:two\n"


def test_tail_logfile_with_filter(tmp_path: Path) -> None:
    append(tmp_path / "0.log", "one\ntwo\n")
    stream = Stream()
    tail_logfile("", str(tmp_path / "0.log"), stream, finished(), NEVER, lambda line: line == "two\n")
    assert stream.getvalue() == "two\n"


def test_tail_logfile_of_a_file_that_never_came(tmp_path: Path) -> None:
    stream = Stream()
    tail_logfile("", str(tmp_path / "never.log"), stream, finished(), NEVER)
    assert stream.getvalue() == ""
