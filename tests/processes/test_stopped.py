"""Ctrl-Z in a shell with job control: the ranks stop with the program, and go on with it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import nblaunch
from nblaunch.interrupts import stopping_together
from tests.screen import Screen

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
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))

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

    def run(self, program: str, *arguments: str) -> None:
        Path("program.py").write_text(program)
        self.type(f"{sys.executable} program.py {' '.join(arguments)}\n")

    def stop(self, times: int = 1) -> None:
        """Press Ctrl-Z, and wait for the prompt after it."""
        before = self.shown.count("Stopped")
        for _ in range(times):
            self.type("\x1a")
        self.read_until("Stopped", before + 1)

    def screen(self) -> list[str]:
        """Return what stands in the terminal."""
        shown = re.sub(r"\x1b\[\?\w+|\x07", "", self.shown.replace("\r\n", "\n").replace("\n", "\r\n"))
        return [line.rstrip() for line in Screen(80).take(shown).rows]


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


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.close()


RESTARTED = """
import os, pathlib, time
import nblaunch
def work():
    print("attempt", os.environ["TORCHELASTIC_RESTART_COUNT"], "at work", flush=True)
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os._exit(1)
    return "fine"
if __name__ == "__main__":
    run = nblaunch.launch(work, 1, timeout=6, max_restarts=1)
    print(run.status, run.results, flush=True)
"""


def test_the_time_of_all_attempts_stands_still_too(shell: Shell, tmp_path: Path) -> None:
    shell.run(RESTARTED)
    shell.read_until("attempt 0 at work")
    shell.stop()
    time.sleep(6.5)  # longer than the timeout of the run, which is not to count
    (tmp_path / "go").touch()
    shell.type("fg\n")
    shell.read_until("finished {0: 'fine'}")
    shell.leave()


STARTING = """
import os, sys
import nblaunch
from nblaunch.engines.local import LocalEngine
from nblaunch.processes.gang import policy
policy._MIN_SECONDS_TO_START = 5.0
sys.path.append(os.path.abspath("site-packages"))
run = nblaunch.launch("import slow_to_import; 'fine'", 2, timeout=5, engine=LocalEngine(preload=("slow_to_import",)))
print(run.status, run.results, run.refused, flush=True)
"""
SLOW = """
import os, time
while not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
    time.sleep(0.02)
"""


def test_ranks_that_start_are_given_their_time(shell: Shell, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "slow_to_import"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SLOW)
    shell.run(STARTING)
    shell.read_until("getting ready: importing slow_to_import")
    shell.stop()
    time.sleep(5.5)  # longer than they have to start in, which is not to count
    shell.type("fg\n")
    shell.read_until("program.py", 2)
    (package / "go").touch()
    shell.read_until("finished {0: 'fine', 1: 'fine'}")
    shell.leave()


WAITED_FOR = """
import os, pathlib, sys, time
import nblaunch
def work():
    print("pid", os.getpid(), "at work", flush=True)
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return "fine"
if __name__ == "__main__":
    run = nblaunch.launch(work, 2, timeout=6, wait="wait" in sys.argv)
    run.wait()
    print(run.status, run.results, flush=True)
"""


@pytest.mark.parametrize("arguments", ["wait < /dev/null", "no", "wait < /dev/null 2>&1 | cat"])
def test_wherever_somebody_waits_for_the_ranks(shell: Shell, tmp_path: Path, arguments: str) -> None:
    shell.run(WAITED_FOR, arguments)
    shell.read_until(" at work", 2)
    pids = [int(part.split()[0]) for part in shell.shown.split("] pid ")[1:]]
    shell.stop()
    wait_for(pids, stopped=True)
    time.sleep(6.5)  # longer than the timeout of the run, which is not to count
    shell.type("fg\n")
    wait_for(pids, stopped=False)
    (tmp_path / "go").touch()
    shell.read_until("finished {0: 'fine', 1: 'fine'}")
    shell.leave()


BARS = """
import pathlib, sys, time
import nblaunch
def wait(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.02)
def work():
    print("\\r10% ###", end="", file=sys.stderr, flush=True)
    for step in range(3):
        wait(f"go-{step}")
        print("rank did", step, flush=True)
    wait("bar")
    print("\\r99% ######", end="", file=sys.stderr, flush=True)
    wait("end")
    print(file=sys.stderr)
if __name__ == "__main__":
    nblaunch.launch(work, 1)
    print("all done", flush=True)
"""


@pytest.mark.parametrize("how", ["Ctrl-Z", "kill -STOP"])
def test_bars_are_drawn_only_while_the_terminal_is_the_programs(shell: Shell, tmp_path: Path, how: str) -> None:
    shell.run(BARS)
    shell.read_until("[0] 10% ###\r\n")
    if how == "Ctrl-Z":
        shell.stop()
    else:
        (program,) = psutil.Process(shell.pid).children()
        program.send_signal(signal.SIGSTOP)
        shell.read_until("Stopped")
    shell.type("echo mine-$((1 + 1))\n")
    shell.read_until("mine-2")
    if how == "Ctrl-Z":
        assert not any("10%" in line for line in shell.screen())
    begin = len(shell.shown)
    shell.type("bg\n")
    for step in range(3):
        (tmp_path / f"go-{step}").touch()
        shell.read_until(f"rank did {step}")
    assert "###" not in shell.shown[begin:]
    # none of those that move up
    assert not re.search(r"\x1b\[\d+A", shell.shown[begin:])
    shell.type("fg\n")
    shell.read_until("[0] 10% ###", 2)
    (tmp_path / "bar").touch()
    shell.read_until("[0] 99% ######")
    (tmp_path / "end").touch()
    shell.read_until("all done")
    shell.leave()
    screen = "\n".join(shell.screen())
    for text in ("Stopped", "mine-2", "rank did 0", "rank did 1", "rank did 2", "[0] 99% ######", "all done"):
        assert text in screen, screen


def test_after_fg_bars_begin_below_what_the_shell_wrote(shell: Shell, tmp_path: Path) -> None:
    shell.run(BARS)
    shell.read_until("[0] 10% ###\r\n")
    shell.stop()
    shell.type("echo mine-$((1 + 1))\n")
    shell.read_until("mine-2")
    shell.type("fg\n")
    shell.read_until("[0] 10% ###", 2)
    for name in ("go-0", "go-1", "go-2", "bar", "end"):
        (tmp_path / name).touch()
    shell.read_until("all done")
    shell.leave()
    screen = "\n".join(shell.screen())
    for text in ("Stopped", "mine-2", "fg", "[0] 99% ######", "all done"):
        assert text in screen, screen
    assert "10%" not in screen


def test_a_second_ctrl_z_is_part_of_the_first_one() -> None:
    heard: list[str] = []
    own = signal.signal(signal.SIGTSTP, lambda number, frame: heard.append("stop"))

    def hold() -> None:
        heard.append("hold")
        signal.raise_signal(signal.SIGTSTP)

    def resume() -> None:
        heard.append("resume")
        if heard.count("resume") == 1:
            signal.raise_signal(signal.SIGTSTP)

    try:
        with stopping_together(hold, resume):
            signal.raise_signal(signal.SIGTSTP)
    finally:
        signal.signal(signal.SIGTSTP, own)
    # that of the one who was impatient is none of its own, that of the one who has set it going is
    assert heard == ["hold", "stop", "resume"] * 2


def test_copies_of_the_program_stop_nobody_else() -> None:
    def hold() -> None:
        os._exit(1)

    own = signal.signal(signal.SIGTSTP, lambda number, frame: os._exit(3))
    try:
        with stopping_together(hold, lambda: None):
            pid = os.fork()
            if pid == 0:
                signal.raise_signal(signal.SIGTSTP)
                os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    finally:
        signal.signal(signal.SIGTSTP, own)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_ranks_have_no_handler_of_ours(start_method: str) -> None:
    run = nblaunch.launch("import signal; signal.getsignal(signal.SIGTSTP)", 1, start_method=start_method)
    assert run.results == {0: signal.SIG_DFL}


HELD = """
import nblaunch
def work():
    answer = 42
    raise ValueError(f"not {answer}")
if __name__ == "__main__":
    print(nblaunch.launch(work, 1, pdb=True, hold=4).status)
"""


def test_a_rank_waits_for_its_debugger_as_long_as_before(shell: Shell) -> None:
    shell.run(HELD)
    shell.read_until("rank 0 waits at ")
    shell.read_until("ipdb> ")
    shell.stop()
    time.sleep(4.5)  # longer than it waits, which is not to count
    shell.type("fg\n")
    shell.read_until("program.py", 2)
    shell.type("p 'it is', answer\n")
    shell.read_until("('it is', 42)")
    shell.type("q\n")
    shell.read_until("failed")
    shell.leave()


IN_IPYTHON = '''
get_ipython().run_line_magic("load_ext", "nblaunch")
get_ipython().run_cell_magic("multiproc", "2 --timeout 6", """
import os, pathlib, time
print("pid", os.getpid(), "at work", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.02)
"fi" + "ne"
""")
'''


def test_ipython_in_a_terminal(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "cell.py").write_text(IN_IPYTHON)
    shell.type(f"IPYTHONDIR={tmp_path} {sys.executable} -m IPython --no-banner --simple-prompt\n")
    shell.read_until("In [1]: ")
    shell.type("exec(open('cell.py').read())\n")
    shell.read_until(" at work", 2)
    pids = [int(part.split()[0]) for part in shell.shown.split("] pid ")[1:]]
    shell.stop()
    wait_for(pids, stopped=True)
    time.sleep(6.5)  # longer than the timeout of the run, which is not to count
    shell.type("fg\n")
    wait_for(pids, stopped=False)
    (tmp_path / "go").touch()
    shell.read_until("[0-1] 'fine'")
    shell.type("40 + 2\n")
    shell.read_until("Out[2]: 42")
    shell.type("exit\n")
    shell.leave()
