"""Ctrl-Z in a shell with job control: the ranks stop with the program, and go on with it."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = """
import pathlib, signal, sys, time
import nblaunch
before = signal.getsignal(signal.SIGTSTP)
if "own" in sys.argv:
    def before(number, frame):
        print("own handler", flush=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, before)
    signal.signal(signal.SIGTSTP, before)
def work():
    import os, pathlib, time
    print("pid", os.getpid(), "at work", flush=True)
    while not pathlib.Path("go").exists():
        sum(range(100_000))
        time.sleep(0.02)
    return "fine"
if __name__ == "__main__":
    print(nblaunch.launch(work, 2, start_method=sys.argv[1], timeout=6, stall=4).results, flush=True)
    print("handler is back:", signal.getsignal(signal.SIGTSTP) is before, flush=True)
"""


class Shell:
    """A bash with job control in a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.shown = ""
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        self.pid = pid

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def read_until(self, text: str, times: int = 1) -> None:
        while self.shown.count(text) < times:
            assert select.select([self.terminal], [], [], 60)[0], self.shown
            self.shown += os.read(self.terminal, 1 << 16).decode(errors="replace")

    def leave(self) -> None:
        """Wait until the program has ended, and the shell with it."""
        self.type("wait; exit\n")
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        for process in psutil.Process(self.pid).children(recursive=True):
            process.kill()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


def wait_for(pids: list[int], stopped: bool) -> None:
    deadline = time.monotonic() + 30
    while any((psutil.Process(pid).status() == psutil.STATUS_STOPPED) != stopped for pid in pids):
        assert time.monotonic() < deadline, [psutil.Process(pid).status() for pid in pids]
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("arguments", "on"),
    [("forkserver", "fg"), ("spawn", "bg"), ("fork", "kill -CONT %1"), ("fork own", "fg")],
)
def test_ranks_stop_and_go_on_with_the_program(tmp_path: Path, arguments: str, on: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    shell = Shell(tmp_path)
    try:
        shell.type(f"{sys.executable} program.py {arguments}\n")
        shell.read_until(" at work", 2)
        pids = [int(part.split()[0]) for part in shell.shown.split("] pid ")[1:]]
        assert len(pids) == 2
        shell.type("\x1a")
        shell.read_until("Stopped")
        wait_for(pids, stopped=True)
        time.sleep(6.5)  # longer than the timeout of the run, which is not to count
        shell.type(f"{on}\n")
        wait_for(pids, stopped=False)
        (tmp_path / "go").touch()
        shell.read_until("{0: 'fine', 1: 'fine'}")
        shell.read_until("handler is back: True")
        shell.leave()
        assert "neither computed nor written" not in shell.shown
        assert ("own handler" in shell.shown) == ("own" in arguments)
    finally:
        shell.close()
