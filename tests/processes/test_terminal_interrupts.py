"""Ctrl-C in a real terminal: the first one says what a second one does, if the ranks do not end at once."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

PROGRAM = """
import signal, time
from nblaunch import launch

def deaf():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("deaf now", flush=True)
    while True:
        time.sleep(1)

launch(deaf, 1, grace=60)
"""


def read_until(terminal: int, text: str) -> str:
    seen = ""
    while text not in seen:
        seen += os.read(terminal, 10_000).decode(errors="replace")
    return seen


def test_the_first_ctrl_c_says_what_the_second_does(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, str(program)])
    try:
        read_until(terminal, "deaf now")
        os.write(terminal, b"\x03")
        read_until(terminal, "The ranks are asked to end. Press Ctrl-C again to kill them.")
        os.write(terminal, b"\x03")
        read_until(terminal, "KeyboardInterrupt")
        # it has yet to remove its logs, and a terminal that closes would end it before
        os.waitpid(child, 0)
    finally:
        os.close(terminal)
