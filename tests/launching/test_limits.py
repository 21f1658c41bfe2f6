"""Ranks that flood their logs, and disks that are full."""

from __future__ import annotations

import errno
import functools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nblaunch.engines import local_ranks
from nblaunch.launching.options import Options
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.processes.starting.start_methods import START_METHODS
from nblaunch.processes.watching.log_limit import LogLimit

LIMIT = 50_000


def flood(until: str, stream: int) -> tuple[int, int]:
    """Write until the log was shortened that often, and as much as that again; return what was written and is there."""
    shortened = written = before = 0
    while shortened < 3 or written < 1_000_000:
        written += os.write(stream, b"0123456789abcde\n" * 64)
        found = os.fstat(stream)
        size = found.st_size if until == "cut" else found.st_blocks * 512
        shortened += size < before
        before = size
    # what is written while a log is cut may be lost, which is in the nature of it
    while until == "cut" and not _was_cut(Path(f"/proc/self/fd/{stream}").read_bytes()):
        time.sleep(0.001)
    os.write(stream, b"the end\n")
    return written, os.fstat(stream).st_size


def _was_cut(log: bytes) -> bool:
    return len(log) <= LIMIT and b"older output cut off" in log


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogLimit, "period", 0.01)


@pytest.mark.parametrize("method", START_METHODS)
def test_a_flood_leaves_the_end_of_the_log(often: None, method: str) -> None:
    run = launch(flood, 2, args=("released", 1), start_method=method, max_log=LIMIT, panel="none")
    assert run.ok, run.failures
    for rank, (written, size) in run.results.items():
        logs = run.logs[rank]
        file = Path(logs.path, "stdout.log").stat()
        assert file.st_size == size == written + 8
        assert file.st_blocks * 512 < LIMIT + 3 * 4096
        note, *_, last = logs.stdout.splitlines()
        assert note.endswith(" of older output released: the log is longer than --max-log …]")
        assert LIMIT <= len(logs.stdout) < LIMIT + 3 * 4096
        assert last == "the end"
        assert logs.ends()[0].endswith("abcde\nthe end\n")


@pytest.mark.parametrize("stream", [1, 2])
def test_a_flood_is_cut_where_files_cannot_have_holes(
    often: None, stream: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no holes here")

    monkeypatch.setattr(local_ranks, "LogLimit", functools.partial(LogLimit, punch_hole=refuse))
    run = launch(flood, 2, args=("cut", stream), max_log=LIMIT, panel="none")
    assert run.ok, run.failures
    for logs in run.logs.values():
        text = logs.stdout if stream == 1 else logs.stderr
        assert len(text) < LIMIT + 1000
        assert "of older output cut off: the log is longer than --max-log, and this file system cannot" in text
        assert text.endswith("the end\n")
        assert "\0" not in text


def test_what_was_written_last_is_released_too() -> None:
    # within the first second, before anybody looks
    run = launch("print('x' * 200_000)", 1, notebook=Notebook({}), max_log="10K", panel="none")
    assert run.ok
    assert Path(run.logs[0].path, "stdout.log").stat().st_blocks * 512 < 20_000


def test_without_a_limit_all_is_kept(often: None) -> None:
    run = launch("print('x' * 200_000)", 1, notebook=Notebook({}), max_log=0, panel="none")
    assert len(run.logs[0].stdout) == 200_001


def test_a_failure_of_a_rank_that_flooded_has_its_last_lines(often: None) -> None:
    def work() -> None:
        flood("released", 2)
        raise ValueError("boom")

    run = launch(work, 1, max_log=LIMIT, panel="none")
    assert run.failures[0].stderr_tail.splitlines()[-1] == "the end"


@pytest.mark.parametrize("size", ["much", "1 e9", -1, 1.5, True])
def test_a_limit_that_is_no_size(size: Any) -> None:
    with pytest.raises(ValueError, match="max_log is a size such as 500M or 2G, or 0 for no limit, not "):
        launch("1", 1, notebook=Notebook({}), max_log=size)


def test_the_limit_is_a_gibibyte_where_nobody_says() -> None:
    assert Options().max_log == 1 << 30


# ---- full disks

FULL = """
import os, shutil, sys
import nblaunch
from nblaunch.processes.starting.zygotes import ZYGOTES

place, method, what = sys.argv[1:]
def fill(inodes, size):
    os.makedirs(place + "/logs")
    os.mkdir(place + "/ballast")
    with open(place + "/ballast/bytes", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
        except OSError as full:
            assert full.errno == 28
    os.truncate(place + "/ballast/bytes", os.path.getsize(place + "/ballast/bytes") - size)
    made = []
    try:
        while True:
            made.append(f"{place}/ballast/{len(made)}")
            open(made[-1], "x").close()
    except OSError as full:
        assert full.errno == 28
        made.pop()
    for name in made[:inodes]:
        os.unlink(name)

def work(what):
    if what == "print":
        print("begun", flush=True)
        while True:
            print("x" * 1000, flush=True)
    return os.environ["RANK"]

# what there is room for: no folder, or folders and no log, or some lines
fill(*{"folders": (0, 65536), "logs": (4, 65536), "print": (50, 65536)}[what])
try:
    run = nblaunch.launch(work, 2, args=(what,), log_dir=place + "/logs", start_method=method, panel="none")
    print(run.status)
    for rank, failure in sorted(run.failures.items()):
        print(rank, failure.collateral, failure.summary())
        print(run.logs[rank].stdout.splitlines()[:1])
except OSError as error:
    print(f"{type(error).__name__}: {error}")
shutil.rmtree(place + "/ballast")
print(nblaunch.launch(work, 2, args=("rest",), start_method=method, panel="none").results)
ZYGOTES.close()
import psutil
print(psutil.Process().children(recursive=True), sorted(os.listdir(place)))
"""


@pytest.fixture
def on_a_full_disk(tmp_path: Path) -> Callable[..., list[str]]:
    """Run the program above with a small file system of its own, which goes with it."""
    place, program = tmp_path / "place", tmp_path / "program.py"
    place.mkdir()
    program.write_text(FULL)
    mount = f"mount -t tmpfs -o size=1m,nr_inodes=100 none {place}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")

    def run(method: str, what: str) -> list[str]:
        done = subprocess.run(
            [
                *("unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" "$@"'),
                *(sys.executable, "-W", "error", str(program), str(place), method, what),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("what", ["folders", "logs"])
def test_a_disk_that_is_full_at_the_start(on_a_full_disk: Callable[..., list[str]], method: str, what: str) -> None:
    error, next_run, left = on_a_full_disk(method, what)
    assert re.fullmatch(
        r"OSError: \[Errno 28\] No space left on device: the logs of a run were to go to .*/place/logs; make room "
        r"there, or name a folder that can be written to with log_dir \(--log-dir\)",
        error,
    )
    assert next_run == "{0: '0', 1: '1'}"
    assert left == "[] ['logs']"


@pytest.mark.parametrize("method", START_METHODS)
def test_a_disk_that_becomes_full(on_a_full_disk: Callable[..., list[str]], method: str) -> None:
    status, first, _, second, _, next_run, left = on_a_full_disk(method, "print")
    assert status == "failed"
    ranks = {line[: line.index(" ")]: line for line in (first, second)}
    assert ranks.keys() == {"0", "1"}
    for rank, line in ranks.items():
        # the error file has no room either; a rank that was ended because of the other one is no failure of its own
        own = rf"{rank} False OSError: \[Errno 28\] No space left on device: the disk with the logs of this run, .*"
        assert re.fullmatch(rf"{own}|{rank} True Signal 15 \(SIGTERM\) received by PID \d+", line)
    assert any("False" in line for line in ranks.values())
    assert next_run == "{0: '0', 1: '1'}"
    assert left == "[] ['logs']"
