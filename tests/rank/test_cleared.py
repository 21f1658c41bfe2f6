"""Marks of what a rank clears, in its log files; each test is a process of its own, whose descriptors these are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nblaunch.logs.clearing import CLEARED, CLEARED_BY_NEXT

NOW, NEXT = CLEARED, CLEARED_BY_NEXT
BEGIN = """
import os, sys
from nblaunch.rank.cleared import ClearedLogs
told = []
logs = ClearedLogs(lambda: told.append(1))
def say(text): print(text, flush=True)
def warn(text): print(text, file=sys.stderr, flush=True)
"""


def run(folder: Path, code: str) -> tuple[bytes, bytes]:
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        subprocess.run([sys.executable, "-c", BEGIN + code], check=True, stdout=out, stderr=err)
    return (folder / "out").read_bytes(), (folder / "err").read_bytes()


@pytest.mark.parametrize(
    ("code", "out", "err"),
    [
        ("logs.clear(False)", b"", b""),
        ("say('a'); logs.clear(False); logs.clear(False); logs.clear(True); say('b')", b"a\n" + NOW + b"b\n", b""),
        ("say('a'); logs.clear(True); logs.clear(True)", b"a\n" + NEXT, b""),
        ("say('a'); logs.clear(True); logs.clear(False)", b"a\n" + NEXT + NOW, b""),
        ("say('a'); logs.clear(True); os.write(1, b'raw')", b"a\n" + NEXT + b"raw", b""),
        ("say('a'); logs.clear(True); say('')", b"a\n" + NEXT + NOW + b"\n", b""),
        # what comes on one stream clears the other too
        ("say('a'); warn('w'); logs.clear(True); say('b')", b"a\n" + NEXT + NOW + b"b\n", b"w\n" + NEXT + NOW),
        ("print('a', end=''); logs.clear(False)", b"a" + NOW, b""),
        ("say('a'); logs.clear(True); logs.clear_if_waiting()", b"a\n" + NEXT + NOW, b""),
        ("say('a'); logs.clear_if_waiting()", b"a\n", b""),
    ],
)
def test_marks(tmp_path: Path, code: str, out: bytes, err: bytes) -> None:
    assert run(tmp_path, code) == (out, err)


def test_a_stream_that_says_nothing_new_is_not_marked_again(tmp_path: Path) -> None:
    code = "warn('w')\nfor step in range(100):\n    logs.clear(True)\n    say(step)"
    out, err = run(tmp_path, code)
    assert out.count(NEXT) == 99
    assert len(err) < 30


def test_the_streams_are_as_before_once_something_came(tmp_path: Path) -> None:
    code = "say('a'); logs.clear(True); say('b'); say('c'); assert 'write' not in vars(sys.stdout); assert told == [1]"
    out, _ = run(tmp_path, code)
    assert out.endswith(b"b\nc\n")


def test_a_fork_clears_nothing_of_its_parent(tmp_path: Path) -> None:
    code = "say('a'); logs.clear(True)\nif os.fork() == 0:\n    say('child'); assert told == []; os._exit(0)\nos.wait()"
    assert run(tmp_path, code)[0] == b"a\n" + NEXT + b"child\n"


def test_replaced_and_closed_streams(tmp_path: Path) -> None:
    code = (
        "import io, contextlib\nsay('a')\nwith contextlib.redirect_stdout(io.StringIO()):\n    logs.clear(True)\n"
        "say('b')\nsys.stderr = None\nlogs.clear(True)\nsay('c')"
    )
    out, _ = run(tmp_path, code)
    assert out.endswith(NEXT + NOW + b"c\n")
