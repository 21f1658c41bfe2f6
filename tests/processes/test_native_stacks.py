"""Looking into many processes with py-spy: several at a time, each and all within limits, and only into what runs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from nblaunch.processes.watching import native_stacks as module
from nblaunch.processes.watching.native_stacks import native_stacks


@pytest.fixture
def py_spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a script in the place of py-spy; its process id argument is ``$5``."""

    def write(script: str) -> None:
        tool = tmp_path / "py-spy"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    return write


def says(text: str) -> str:
    return f"printf 'Process\\nPython\\n\\nThread 1 (idle)\\n    {text}\\n'"


def runs(_: int) -> bool:
    return True


def test_every_process_is_looked_into(py_spy: Callable[[str], None]) -> None:
    py_spy('[ "$1 $2 $3" = "dump --native --pid" ] || exit 1\n' + says("frame of $4").replace("'", '"'))
    found = native_stacks({rank: 1000 + rank for rank in range(20)}, runs)
    assert found == {rank: f"Thread (idle)\n    frame of {1000 + rank}" for rank in range(20)}


def test_several_at_a_time_and_no_more(py_spy: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    py_spy(says("frame"))
    monkeypatch.setattr(module, "_AT_ONCE", 4)
    threads: set[int] = set()
    together = threading.Barrier(4)

    def meets_others(_: int) -> bool:
        threads.add(threading.get_ident())
        together.wait(60)
        return True

    assert len(native_stacks({rank: rank for rank in range(16)}, meets_others)) == 16
    assert len(threads) == 4


def test_one_that_has_ended_is_not_looked_into(py_spy: Callable[[str], None]) -> None:
    py_spy(says("frame"))
    found = native_stacks({0: 1, 1: 2}, lambda rank: rank == 0)
    assert found == {0: "Thread (idle)\n    frame", 1: "it ended before py-spy could look into it"}


def test_one_that_ends_meanwhile_is_said_to_have_ended(py_spy: Callable[[str], None]) -> None:
    py_spy("echo 'No such process' >&2; exit 1")
    asked: list[int] = []

    def ends(rank: int) -> bool:
        asked.append(rank)
        return len(asked) == 1

    assert native_stacks({0: 1}, ends) == {0: "it ended before py-spy could look into it"}
    assert native_stacks({0: 1}, runs)[0].startswith("py-spy could not look into it: No such process")


def test_each_has_a_limit_and_so_have_all(py_spy: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    py_spy("exec sleep 1000")
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    assert native_stacks({3: 1}, runs) == {3: "py-spy did not answer within 0.2 s"}
    monkeypatch.setattr(module, "_PATIENCE_FOR_ALL", 0)
    late = "its turn had not come after 0 s: ask for fewer ranks at a time"
    assert native_stacks({0: 1, 1: 2}, runs) == {0: late, 1: late}


def test_a_py_spy_that_cannot_be_started(py_spy: Callable[[str], None], tmp_path: Path) -> None:
    py_spy("")
    (tmp_path / "py-spy").write_text("no program at all")
    assert native_stacks({0: 1}, runs) == {0: "py-spy could not be started: Exec format error"}


def test_an_interrupt_leaves_no_py_spy_behind(py_spy: Callable[[str], None], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    py_spy(f"echo x > {ready}; exec sleep 1000")
    fifo = os.open(ready, os.O_RDWR)

    def interrupt() -> None:
        told = b""
        while len(told) < 6:
            told += os.read(fifo, 100)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        native_stacks({0: 1, 1: 2, 2: 3}, runs)
    thread.join()
    os.close(fifo)
    assert not [child for child in psutil.Process().children() if child.name() == "sleep"]


def test_an_interrupt_while_a_py_spy_is_made_does_not_lose_sight_of_it(
    py_spy: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    py_spy("exec sleep 1000")
    made: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self.pid)
            if len(made) == 1:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        native_stacks({0: 1, 1: 2}, runs)
    left = [psutil.Process(pid) for pid in made if psutil.pid_exists(pid)]
    assert not left, (left, threading.enumerate())


def test_without_more_threads_this_one_does_all(py_spy: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    py_spy(says("frame"))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert len(native_stacks({rank: rank for rank in range(5)}, runs)) == 5
