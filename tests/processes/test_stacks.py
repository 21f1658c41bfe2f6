"""Stacks that processes write when a signal asks them to: of all threads, in C code too, and never ending a process."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from nblaunch.events import Stack
from nblaunch.processes.watching import stack_requests
from nblaunch.processes.watching.stack_requests import StackRequest
from nblaunch.stacks.dump import frames_of

READY = "from nblaunch.stacks.dump import answer_with_stacks\nanswer_with_stacks({path!r})\n"
Start = Callable[[str], int]


def ask(pid: int, path: Path) -> Stack:
    request = StackRequest({3: (pid, str(path))})
    while not request.look():
        continue
    return request.stacks()[3]


def wait_for(pid: int, path: Path, function: str, threads: int = 1) -> Stack:
    """Ask until the process is in a function of that name, and so many threads wait, which is going to be so."""
    while True:
        stack = ask(pid, path)
        if stack.problem == "it has just ended":
            raise AssertionError(stack)
        if len(stack.threads) >= threads and any(frame.function == function for frame in stack.threads[0]):
            return stack


def test_the_stack_of_a_process_that_waits(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    source = READY.format(path=str(path)) + (
        "import threading\n"
        "def lower():\n"
        "    threading.Event().wait()\n"
        "def upper():\n"
        "    lower()\n"
        "print('ready', flush=True)\n"
        "upper()\n"
    )
    stack = wait_for(start(source), path, "lower")
    (main,) = stack.threads
    names = [frame.function for frame in main]
    assert names[-3:] == ["lower", "upper", "<module>"]
    assert [(frame.file, frame.line) for frame in main[-2:]] == [("<string>", 7), ("<string>", 9)]
    assert stack.problem == ""
    assert path.stat().st_mode & 0o777 == 0o600


def test_all_threads_and_the_main_one_first(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    source = READY.format(path=str(path)) + (
        "import threading\n"
        "begun = threading.Event()\n"
        "def worker():\n"
        "    begun.set()\n"
        "    threading.Event().wait()\n"
        "def main():\n"
        "    threading.Event().wait()\n"
        "threading.Thread(target=worker, daemon=True).start()\n"
        "begun.wait()\n"
        "print('ready', flush=True)\n"
        "main()\n"
    )
    stack = wait_for(start(source), path, "main", 2)
    assert len(stack.threads) == 2
    assert "worker" in [frame.function for frame in stack.threads[1]]


MANY = """import signal, threading
begun = threading.Barrier(151)
def worker():
    begun.wait()
    threading.Event().wait()
def main():
    {blocks}
    print('ready', flush=True)
    threading.Event().wait()
for _ in range(150): threading.Thread(target=worker, daemon=True).start()
begun.wait()
main()
"""


def test_the_main_thread_of_more_than_python_tells_of(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    pid = start(READY.format(path=str(path)) + MANY.format(blocks="pass"))
    for _ in range(3):
        stack = wait_for(pid, path, "main", 101)
        assert [frame.function for frame in stack.threads[0]][-2:] == ["main", "<module>"]
        assert len(stack.threads) == 101
        assert all("worker" in [frame.function for frame in frames] for frames in stack.threads[1:])
        assert (stack.problem, stack.left_out, stack.cut) == ("", 50, False)


def test_a_main_thread_of_many_that_blocks_the_signal(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    blocks = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMAX - 2])"
    stack = ask(start(READY.format(path=str(path)) + MANY.format(blocks=blocks)), path)
    assert stack.threads == ()
    assert stack.problem == "its main thread blocks the signal that asks for it: ask for native stacks (py-spy)"


def test_threads_that_run_are_not_looked_at(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    source = READY.format(path=str(path)) + (
        "import threading\n"
        "def worker():\n"
        "    while True: threading.Thread(target=int).start()\n"
        "def main():\n"
        "    print('ready', flush=True)\n"
        "    threading.Event().wait()\n"
        "threading.Thread(target=worker, daemon=True).start()\n"
        "main()\n"
    )
    pid = start(source)
    for _ in range(300):
        stack = wait_for(pid, path, "main")
        assert [frame.function for frame in stack.threads[0]][-1] == "<module>"
    os.kill(pid, 0)


# What goes down one step; Python counts those steps differently that go through C code.
STEPS = {
    "call": "down(n - 1)",
    "eval": "eval('down(n - 1)')",
    "exec": "exec('down(n - 1)')",
    "map": "list(map(down, [n - 1]))",
    "sort": "sorted([n - 1], key=down)",
    "attribute": "getattr(Attribute(), f'x{n - 1}')",
}
DOWN = """
import sys, threading
def down(n):
    if n: {step}
    print('ready', flush=True)
    threading.Event().wait()
class Attribute:
    def __getattr__(self, name): down(int(name[1:]))
sys.setrecursionlimit(10_000)
down({depth})
"""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("depth", [25, 300])
def test_of_a_deep_recursion_the_innermost_frames_are_told(start: Start, tmp_path: Path, step: str, depth: int) -> None:
    path, program = tmp_path / "stacks", tmp_path / "program.py"
    program.write_text(READY.format(path=str(path)) + DOWN.format(step=STEPS[step], depth=depth))
    stack = wait_for(
        start(f"import os, sys\nos.execv(sys.executable, [sys.executable, {str(program)!r}])"), path, "wait"
    )
    # a program that has a file ends with it
    assert stack.cut is (depth == 300)
    told = [frame.function for frame in stack.threads[0]].count("down")
    assert told == 26 if depth == 25 else 20 < told < 100


def test_a_stack_that_nearly_fills_what_python_tells(start: Start, tmp_path: Path) -> None:
    path, program = tmp_path / "stacks", tmp_path / "program.py"
    program.write_text(READY.format(path=str(path)) + DOWN.format(step=STEPS["call"], depth=90))
    stack = wait_for(
        start(f"import os, sys\nos.execv(sys.executable, [sys.executable, {str(program)!r}])"), path, "wait"
    )
    assert stack.cut is False
    assert [frame.function for frame in stack.threads[0]].count("down") == 91


def test_c_code_that_holds_the_interpreter_lock_is_seen(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    # PyDLL keeps the lock while the function runs
    source = READY.format(path=str(path)) + (
        "import ctypes\ndef hold():\n    ctypes.PyDLL(None).pause()\n    hold()\nprint('ready', flush=True)\nhold()\n"
    )
    pid = start(source)
    assert "hold" in [frame.function for frame in wait_for(pid, path, "hold").threads[0]]


def test_a_process_that_is_stopped_says_so_and_answers_later(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    source = READY.format(path=str(path)) + "import threading\nprint('ready', flush=True)\nthreading.Event().wait()\n"
    pid = start(source)
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    stack = ask(pid, path)
    assert (stack.threads, stack.state) == ((), "T")
    assert stack.problem == "it is stopped (SIGSTOP), and answers when it goes on"
    os.kill(pid, signal.SIGCONT)
    assert wait_for(pid, path, "wait").problem == ""


def test_a_process_that_does_not_answer_is_left_alone(start: Start, tmp_path: Path) -> None:
    pid = start("import threading\nprint('ready', flush=True)\nthreading.Event().wait()\n")
    stack = ask(pid, tmp_path / "none")
    assert (stack.threads, stack.problem) == ((), "it is not ready to answer")
    os.kill(pid, 0)


def test_a_process_that_has_ended(start: Start, tmp_path: Path) -> None:
    pid = start("print('ready', flush=True)")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ask(pid, tmp_path / "none").problem == "it has just ended"


def test_one_whose_folder_was_removed_says_so(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "stacks"
    path.parent.mkdir()
    source = READY.format(path=str(path)) + "import threading\nprint('ready', flush=True)\nthreading.Event().wait()\n"
    pid = start(source)
    shutil.rmtree(path.parent)
    assert ask(pid, path).problem == "the folder with the file for its stacks was removed while it ran"


@pytest.mark.parametrize("room", [0, 60, 90])
def test_one_whose_disk_is_full_says_so(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "stacks"
    # a limit on the size of files refuses what is written just as a full disk does
    source = READY.format(path=str(path)) + (
        "import resource, signal, threading\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({11 + room}, {11 + room}))\n"
        # deep enough for a stack that never fits, wherever in the last line it is asked
        "def deep(n):\n"
        "    if n:\n        return deep(n - 1)\n"
        "    print('ready', flush=True)\n"
        "    threading.Event().wait()\n"
        "deep(5)\n"
    )
    pid = start(source)
    monkeypatch.setattr(stack_requests, "has_no_room", lambda folder: folder == str(tmp_path))
    for _ in range(2):
        stack = ask(pid, path)
        assert (stack.threads, stack.problem) == ((), "the disk with the file for its stacks is full")
    # and one that had no room for the first line
    path.write_text("")
    assert ask(pid, path).problem == "the disk with the file for its stacks is full"


def test_a_limit_of_pending_signals_is_told(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    source = READY.format(path=str(path)) + (
        "import resource, threading\nresource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))\n"
        "print('ready', flush=True)\nthreading.Event().wait()\n"
    )
    assert ask(start(source), path).problem == (
        "the limit of pending signals (ulimit -i) is reached: ask for native stacks (py-spy)"
    )


def test_without_descriptors_nobody_is_said_to_have_ended(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stacks"
    pid = start(
        READY.format(path=str(path)) + "import threading\nprint('ready', flush=True)\nthreading.Event().wait()\n"
    )

    def refuses(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("nblaunch.processes.watching.stack_requests._state", refuses)
        assert ask(pid, path).problem == "it cannot be asked: Too many open files"
    assert ask(pid, path).problem == ""


@pytest.mark.parametrize("closes", ["os.closerange(3, 5000)", "os.close(FD)"])
def test_one_whose_file_was_closed_is_not_asked(start: Start, tmp_path: Path, closes: str) -> None:
    path = tmp_path / "stacks"
    source = READY.format(path=str(path)) + (
        f"import os, threading\nFD = int(open({str(path)!r}).readline())\n{closes}\n"
        "print('ready', flush=True)\nthreading.Event().wait()\n"
    )
    problem = ask(start(source), path).problem
    assert re.fullmatch(
        r"its code has closed the file for its stacks, descriptor \d+: ask for native stacks \(py-spy\)", problem
    )


@pytest.mark.parametrize("takes", ["os.dup2(file.fileno(), FD)", "os.closerange(3, FD + 1); os.dup2(1, FD)"])
def test_stacks_are_never_written_into_what_is_the_users(start: Start, tmp_path: Path, takes: str) -> None:
    path, own = tmp_path / "stacks", tmp_path / "own"
    source = READY.format(path=str(path)) + (
        f"import os, threading\nFD = int(open({str(path)!r}).readline())\nfile = open({str(own)!r}, 'w')\n{takes}\n"
        "print('ready', flush=True)\nthreading.Event().wait()\n"
    )
    problem = ask(start(source), path).problem
    said = r"its code uses the descriptor of the file for its stacks, \d+, for something else: ask for native stacks.*"
    assert re.fullmatch(said, problem)
    assert own.read_text() == ""


@pytest.mark.parametrize("limit", [64, 1024, 4096])
def test_its_file_has_the_highest_number_that_is_free(start: Start, tmp_path: Path, limit: int) -> None:
    path = tmp_path / "stacks"
    highest = min(limit, 1024) - 1
    source = (
        f"import os, resource, threading\nresource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        f"os.dup2(0, {highest})\n"
    ) + READY.format(path=str(path))
    pid = start(source + "print('ready', flush=True)\nthreading.Event().wait()\n")
    expected = highest + 1 if limit > 1024 else highest - 1
    assert path.read_text() == f"{expected:10}\n"
    assert path.samefile(f"/proc/{pid}/fd/{expected}")
    assert wait_for(pid, path, "wait").problem == ""


def test_one_whose_file_was_emptied_is_not_asked(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    source = READY.format(path=str(path)) + "import threading\nprint('ready', flush=True)\nthreading.Event().wait()\n"
    pid = start(source)
    path.write_text("")
    assert ask(pid, path).problem == "it is not ready to answer"


def test_its_file_is_out_of_reach_of_who_closes_the_low_descriptors(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    source = READY.format(path=str(path)) + (
        "import os, threading\nos.closerange(3, 1000)\nprint('ready', flush=True)\nthreading.Event().wait()\n"
    )
    assert wait_for(start(source), path, "wait").problem == ""


def test_lines_that_are_no_frames_are_passed_over() -> None:
    (frame,) = frames_of(["Thread 0x1 (most recent call first):", '  File "a b.py", line 7 in f', "  ...", ""])
    assert (frame.file, frame.line, frame.function) == ("a b.py", 7, "f")
