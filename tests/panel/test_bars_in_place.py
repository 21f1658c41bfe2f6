"""Progress bars of ranks in a real terminal: drawn over, below all that is printed."""

from __future__ import annotations

import contextlib
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
from tests.screen import Screen

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


NEIGHBOURS = """
import logging, pathlib, sys, threading
from nblaunch import launch

def wait(name):
    while not pathlib.Path(GATES, name).exists():
        threading.Event().wait(0.02)

def work():
    print("\\r1/3 |###", end="", file=sys.stderr, flush=True)
    wait("bar-0")
    if rank == 0:
        from IPython.display import HTML, display
        display(HTML("<b>shown</b>"))
    wait("bar-1")
    print("\\r2/3 |######", end="", file=sys.stderr, flush=True)
    wait("bar-2")
    print("\\r3/3 done", file=sys.stderr, flush=True)

def neighbour():
    wait("neighbour")
    print("a line of the program")
    logging.warning("a warning of the program")
    print("and an unfinished one", end="")
    pathlib.Path(GATES, "neighbour-wrote").touch()
    wait("neighbour-again")
    print(" that is finished")

threading.Thread(target=neighbour, daemon=True).start()
own = sys.stdout.write, sys.stderr.write
print("Training ... ", end="")
launch(work, 2)
assert (sys.stdout.write, sys.stderr.write) == own
print("done")
"""


ASKING = """
import os, pathlib, signal, sys, threading
from nblaunch import launch

def wait(name):
    while not pathlib.Path(GATES, name).exists():
        threading.Event().wait(0.02)

def die():
    wait("die")
    os.kill(os.getpid(), signal.SIGKILL)

def work():
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    if rank == 0 and attempt == "0":
        threading.Thread(target=die).start()
        input("name? ")
    if rank == 1:
        print("\\r1/3 |###", end="", file=sys.stderr, flush=True)
        wait(f"end-{attempt}")

print(launch(work, 2, on_failure=sys.argv[1], max_restarts=int(sys.argv[2])).status)
"""


class Terminal:
    """A program in a terminal of so many columns and rows, and what it has written there."""

    def __init__(self, program: Path, columns: int, *arguments: str, **env: str) -> None:
        self.child, self.descriptor = pty.fork()
        if self.child == 0:
            os.execve(sys.executable, [sys.executable, str(program), *arguments], os.environ | {"TERM": "xterm"} | env)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.columns = columns
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
        lines = [line.rstrip() for line in Screen(self.columns).take(self.seen.decode(errors="ignore")).rows]
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


def test_nothing_that_anybody_writes_is_drawn_over(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"GATES = {str(tmp_path)!r}\n{NEIGHBOURS}")
    terminal = Terminal(program, 50)
    bars = ["[0] 1/3 |###", "[1] 1/3 |###"]
    assert terminal.read_until(*bars) == ["Training ...", *bars]
    (tmp_path / "bar-0").touch()
    shown = "[0] <IPython.core.display.HTML object>"
    assert terminal.read_until(shown, *bars) == ["Training ...", shown, *bars]
    (tmp_path / "neighbour").touch()
    lines = ["Training ...", shown, "a line of the program", "WARNING:root:a warning of the program"]
    assert terminal.read_until("and an unfinished one", *bars) == [*lines, "and an unfinished one", *bars]
    (tmp_path / "neighbour-again").touch()
    lines += ["and an unfinished one", " that is finished"]
    assert terminal.read_until(" that is finished", *bars) == [*lines, *bars]
    (tmp_path / "bar-1").touch()
    terminal.read_until("[0] 2/3 |######", "[1] 2/3 |######")
    (tmp_path / "bar-2").touch()
    assert terminal.end() == [*lines, "[0] 3/3 done", "[1] 3/3 done", "done"]


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_rank_that_dies_while_it_asks_leaves_the_bars_to_the_others(tmp_path: Path, restarts: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"GATES = {str(tmp_path)!r}\n{ASKING}")
    terminal = Terminal(program, 50, "stop" if restarts else "continue", str(restarts))
    terminal.read_until("rank 0: name?")
    (tmp_path / "die").touch()
    screen = terminal.read_until("[1] 1/3 |###")
    assert "rank 0: name?" in screen
    (tmp_path / "end-0").touch()
    (tmp_path / "end-1").touch()
    assert terminal.end()[-1] == ("finished" if restarts else "failed")


def _all_of(master: int) -> bytes:
    """Return what was written to a terminal that nobody has open any more: it comes in parts."""
    parts = []
    with open(master, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while part := terminal.read(10_000):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("typed", ["", "name? ", "x" * 29, "y" * 30, "z" * 31])
def test_bars_begin_on_a_line_of_their_own(typed: str) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 30, 0, 0))
    with open(slave, "w") as stream:
        bars = BarsInPlace(stream)
        stream.write(typed)
        bars.draw(["[0] 50%"])
        bars.draw(["[0] 60%"])
        bars.close()
    screen = Screen(30).take(_all_of(master).decode())
    assert "".join(screen.rows).rstrip() == typed.rstrip()
    assert (screen.row, screen.column) == (len(typed) // 31 + bool(typed), 0)


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
    # nobody knows where the cursor was
    assert stream.getvalue().splitlines() == ["", *(f"[{rank}] 50%" for rank in range(5)), "… and the bars of 4 more"]
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
    assert stream.getvalue().splitlines()[1] == "[0] " + "漢" * 12
    size[0] = os.terminal_size((10, 10))
    bars.take_away()
    assert stream.getvalue().endswith("\x1b[4A\r\x1b[J")
