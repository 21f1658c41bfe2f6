"""What ``%multiproc doctor`` says, in each state that ranks can come from."""

from __future__ import annotations

import os
import re
import signal

import pytest

import nblaunch
from nblaunch.engines.local import LocalEngine
from nblaunch.launching.prepare import PREPARE, REHEARSE
from nblaunch.magic import doctor
from nblaunch.magic.doctor import examine
from nblaunch.processes.starting.zygotes import ZYGOTES
from tests.processes.conftest import Packages, packages  # noqa: F401  (a fixture)
from tests.processes.targets import assert_gone
from tests.processes.zygote_states import ahead, ask, spares, start, zygote_pids


@pytest.fixture(autouse=True)
def failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have done to zygotes."""
    monkeypatch.setattr(ZYGOTES, "failures", [])


def zygote_lines(start_method: str = "zygote") -> list[str]:
    """Return what is said about zygotes."""
    lines = examine(start_method).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("zygote"))
    last = next(i for i, line in enumerate(lines) if line.startswith("hash seed"))
    return [" ".join(line.split()) for line in lines[first:last]]


def test_the_machine_and_the_versions() -> None:
    text = examine("zygote")
    assert re.search(rf"^nblaunch +{re.escape(nblaunch.__version__)}, Python 3\.\d+\.\d+\S*, ipykernel \d", text)
    cores = len(os.sched_getaffinity(0))
    assert re.search(
        rf"^machine +{cores} cores for this kernel, .+ of .+ memory available, Linux \d", text, re.MULTILINE
    )
    assert re.search(r"^limits +(\d+|any number of) processes, (\d+|any number of) open files$", text, re.MULTILINE)


def test_what_is_left_out_here() -> None:
    text = examine("zygote", panel=["one thing", "and another"])
    assert re.search(r"^panel +one thing\n +and another\nmachine ", text, re.MULTILINE)
    assert not re.search(r"^panel", examine("zygote"), re.MULTILINE)
    many = examine("zygote", panel=[f"notice {number}" for number in range(12)])
    assert [int(number) for number in re.findall(r"notice (\d+)", many)] == list(range(12))


def test_whose_hashes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    def said(start_method: str = "zygote") -> str:
        line = next(line for line in examine(start_method).splitlines() if line.startswith("hash seed"))
        return line.removeprefix("hash seed").strip()

    monkeypatch.setenv("PYTHONHASHSEED", "7")
    for own, text in [
        ("7", "7, in this kernel and in all ranks: hash() of a text is the same everywhere"),
        ("8", "7 in all ranks of all runs, which agree about hash() of a text; this kernel has 8"),
        (
            "",
            (
                "7 in all ranks of all runs, which agree about hash() of a text; "
                "this kernel has drawn its own (start it with PYTHONHASHSEED to choose it)"
            ),
        ),
    ]:
        monkeypatch.setattr(doctor, "own_seed", lambda own=own: own)
        assert said() == text
    assert said("fork") == "that of this kernel: with this start method ranks are copies of it"


def test_without_a_zygote() -> None:
    assert zygote_lines() == ["zygote none: the next launch makes one"]
    assert zygote_lines("spawn") == ["zygote none: this start method needs none"]
    assert re.search(r"^start method +spawn$", examine("spawn"), re.MULTILINE)


def test_a_zygote_and_its_spares() -> None:
    ask("1", 2, preload=("numpy",), engine=LocalEngine(("numpy",), spare_seconds=100))
    spares()
    first, holds, waiting = zygote_lines()
    assert re.fullmatch(rf"zygote pid {zygote_pids()[0]}, \d+ MB with its spares, ready after \d+\.\d s", first)
    assert holds == "holds numpy"
    assert re.fullmatch(r"2 spares waiting, for (100|99) s more", waiting)
    os.kill(spares()[0], signal.SIGKILL)
    assert_gone([spares()[0]])
    assert zygote_lines()[-1].startswith("1 spare waiting, for ")
    os.kill(ahead().pid, signal.SIGKILL)
    assert_gone([ahead().pid])
    assert zygote_lines()[1:] == ["holds numpy"], "spares without their forkserver are of no use"


def test_spares_whose_time_is_over() -> None:
    ask("1", 2, engine=LocalEngine(spare_seconds=1e-9))
    spares()
    assert len(zygote_lines()) == 1


def test_a_zygote_that_is_stopped_or_dead() -> None:
    ask("1", 2)
    pid = zygote_pids()[0]
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    assert zygote_lines()[0].startswith(f"zygote pid {pid}, stopped, ")
    os.kill(pid, signal.SIGKILL)
    assert_gone([pid])
    assert zygote_lines() == [f"zygote pid {pid}, dead: the next launch replaces it"]
    ask("1", 2)
    assert zygote_lines()[-1] == "failed zygote it ended with code -9"


def test_a_forkserver_that_does_not_say_hello() -> None:
    ask("1", 2)
    os.kill(zygote_pids()[0], signal.SIGSTOP)
    os.waitid(os.P_PID, zygote_pids()[0], os.WSTOPPED | os.WNOWAIT)
    zygote = ZYGOTES._processes[0]
    assert zygote.ahead is not None
    zygote.ahead.connection.close()
    zygote.ahead.connection = zygote.order(2, 0.0, None)
    assert len(zygote_lines()) == 1
    with pytest.raises(BlockingIOError):
        while True:  # as long as it takes packets that nobody reads
            zygote.order(1, 0.0, None).close()


def test_a_zygote_that_imports_or_leaves_something_out(packages: Packages) -> None:  # noqa: F811
    packages.write("zt_fails", "1 / 0")
    engine = LocalEngine(("zt_fails", "numpy"))
    engine.get_ready(PREPARE, REHEARSE)
    os.kill(zygote_pids()[0], signal.SIGSTOP)
    os.waitid(os.P_PID, zygote_pids()[0], os.WSTOPPED | os.WNOWAIT)
    assert zygote_lines() == [f"zygote pid {zygote_pids()[0]}, stopped, importing numpy, zt_fails"]
    start("import numpy", engine=engine)
    assert zygote_lines()[1:3] == [
        "holds numpy",
        "leaves out zt_fails: its import failed: ZeroDivisionError: division by zero",
    ]
