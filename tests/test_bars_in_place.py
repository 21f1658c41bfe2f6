"""Progress bars of ranks in a real terminal: drawn over, below all that is printed."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import pytest

from nblaunch.panel.bars_in_place import BarsInPlace
from nblaunch.panel.terminal import render

PROGRAM = """
import pathlib, sys, threading
from nblaunch import launch

def wait(name):
    while not pathlib.Path(GATES, name).exists():
        threading.Event().wait(0.02)

def work():
    for step in range(3):
        print(f"\\r{step}/3 |" + "#" * 30 * step, end="", file=sys.stderr, flush=True)
        wait(f"bar-{step}")
        print("rank", rank, "did", step, flush=True)
    print("\\r3/3 done", file=sys.stderr, flush=True)

launch(work, 2)
"""


class Terminal:
    """A program in a terminal of so many columns and rows, and what it has written there."""

    def __init__(self, program: Path, columns: int, **env: str) -> None:
        self.child, self.descriptor = pty.fork()
        if self.child == 0:
            os.execve(sys.executable, [sys.executable, str(program)], os.environ | {"TERM": "xterm"} | env)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.seen = b""

    def read_until(self, *texts: str) -> list[str]:
        while not all(text in self.screen() for text in texts):
            self.seen += os.read(self.descriptor, 10_000)
        return self.screen()

    def end(self) -> list[str]:
        try:
            while True:
                self.seen += os.read(self.descriptor, 10_000)
        except OSError:  # the program has closed it
            pass
        os.waitpid(self.child, 0)
        os.close(self.descriptor)
        return self.screen()

    def screen(self) -> list[str]:
        lines = [line.text.rstrip() for line in render(self.seen.replace(b"\r\n", b"\n"))]
        return [line for line in lines if line and not line.startswith("getting ready")]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(f"GATES = {str(tmp_path)!r}\n{PROGRAM}")
    return path


def test_bars_are_drawn_over_below_what_is_printed(program: Path, tmp_path: Path) -> None:
    terminal = Terminal(program, 40)
    assert terminal.read_until("[0] 0/3 |", "[1] 0/3 |") == ["[0] 0/3 |", "[1] 0/3 |"]
    (tmp_path / "bar-0").touch()
    bars = [f"[{rank}] 1/3 |{'#' * 30}"[:39] for rank in range(2)]
    screen = terminal.read_until(*bars, "[0] rank 0 did 0", "[1] rank 1 did 0")
    assert (sorted(screen[:2]), screen[2:]) == (["[0] rank 0 did 0", "[1] rank 1 did 0"], bars)
    (tmp_path / "bar-1").touch()
    # longer than the terminal is wide: cut, so that they can be drawn over
    bars = [f"[{rank}] 2/3 |{'#' * 60}"[:39] for rank in range(2)]
    screen = terminal.read_until(*bars)
    assert screen[-2:] == bars
    assert len(screen) == 6
    (tmp_path / "bar-2").touch()
    screen = terminal.end()
    assert sorted(screen) == sorted(
        [f"[{rank}] rank {rank} did {step}" for rank in range(2) for step in range(3)]
        + [f"[{rank}] 3/3 done" for rank in range(2)]
    )


def test_where_the_cursor_cannot_be_moved_there_are_lines(program: Path, tmp_path: Path) -> None:
    for step in range(3):
        (tmp_path / f"bar-{step}").touch()
    terminal = Terminal(program, 40, TERM="dumb")
    terminal.end()
    assert b"\x1b[" not in terminal.seen
    assert b"[1] 3/3 done" in terminal.seen


def test_more_bars_than_are_drawn_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((30, 10)))
    stream = io.StringIO()
    bars = BarsInPlace(stream)
    bars.draw([f"[{rank}] \x1b[32m50%\x1b[0m" for rank in range(9)])
    assert stream.getvalue().splitlines() == [*(f"[{rank}] 50%" for rank in range(5)), "… and the bars of 4 more"]
    before = stream.getvalue()
    bars.draw([f"[{rank}] 50%" for rank in range(9)])
    assert stream.getvalue() == before  # nothing has changed
    bars.take_away()
    assert stream.getvalue() == f"{before}\x1b[6A\r\x1b[J"
    bars.take_away()
    assert stream.getvalue() == f"{before}\x1b[6A\r\x1b[J"


def test_a_terminal_that_has_become_narrower_has_wrapped_them(monkeypatch: pytest.MonkeyPatch) -> None:
    size = [os.terminal_size((30, 10))]
    monkeypatch.setattr("shutil.get_terminal_size", lambda: size[0])
    stream = io.StringIO()
    bars = BarsInPlace(stream)
    bars.draw(["[0] " + "漢" * 20, "[1] short"])
    assert stream.getvalue().splitlines()[0] == "[0] " + "漢" * 12
    size[0] = os.terminal_size((10, 10))
    bars.take_away()
    assert stream.getvalue().endswith("\x1b[4A\r\x1b[J")
