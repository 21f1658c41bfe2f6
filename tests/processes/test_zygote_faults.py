"""Zygotes, forkservers and spares that die, hang or are stopped; launches that are interrupted; ends of the program."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nblaunch.engines.local import LocalEngine
from nblaunch.events import Event, GettingReady
from nblaunch.launching.prepare import PREPARE, REHEARSE
from nblaunch.processes.child.rank_spec import RankSpec
from nblaunch.processes.gang import policy
from nblaunch.processes.gang.escalation import KILL
from nblaunch.processes.gang.gang import Gang
from nblaunch.processes.gang.supervisor import Supervisor
from nblaunch.processes.starting import forkserver_connection, zygote_client, zygotes
from nblaunch.processes.starting.base import PARENT_ONLY_FDS, Preparation
from nblaunch.processes.starting.forkserver_connection import Connection
from nblaunch.processes.starting.zygote_client import Ahead
from nblaunch.processes.starting.zygotes import ZYGOTES, Zygote
from tests.processes import targets
from tests.processes.conftest import Packages
from tests.processes.targets import LIMIT, Announcements, assert_gone
from tests.processes.zygote_states import WHO, ahead, ask, report, spares, start, zygote_pids

# ---- a zygote


def test_a_zygote_that_was_killed_is_replaced(no_failures: list[str], caplog: pytest.LogCaptureFixture) -> None:
    ask("1", 2)
    old, waiting = zygote_pids()[0], spares()
    os.kill(old, signal.SIGKILL)
    assert_gone([old])
    assert not {pid for pid, _ in ask(WHO, 2).values()} & set(waiting), "nothing of it is used"
    assert_gone(waiting)
    assert zygote_pids() != [old]
    assert no_failures == ["it ended with code -9"]
    assert f"a zygote (pid {old}) failed and is replaced: it ended with code -9" in caplog.text


def test_a_run_goes_on_when_its_zygote_dies(announcements: Announcements, tmp_path: Path) -> None:
    gate = targets.Gate(tmp_path / "gate")
    source = (
        "from tests.processes.targets import announce, wait_at\n"
        f"announce({announcements.path!r})\nwait_at({gate.path!r})\nrank"
    )
    run = start(source, 2, wait=False)
    announcements.pids(2)
    pid = zygote_pids()[0]
    os.kill(pid, signal.SIGKILL)
    assert_gone([pid])
    gate.close()
    assert run.wait(LIMIT)
    assert run.results == {0: 0, 1: 1}
    assert ask("rank") == {0: 0}


def test_a_zygote_that_dies_while_it_imports(
    packages: Packages, announcements: Announcements, no_failures: list[str]
) -> None:
    package = packages.write_blocking("zt_blocks", announcements)
    found: list[dict[int, object]] = []
    # the launch needs the package, because its name is in the payload
    thread = threading.Thread(target=lambda: found.append(ask("'zt_blocks'", preload=(package,))))
    thread.start()
    os.kill(announcements.pids(1)[0], signal.SIGKILL)
    thread.join(LIMIT)
    assert found == [{0: "zt_blocks"}]
    assert no_failures == ["it ended with code -9 while it imported zt_blocks"]


def test_a_zygote_that_says_why_it_dies(packages: Packages, no_failures: list[str]) -> None:
    package = packages.write("zt_dies", "import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos._exit(7)")
    assert ask("rank", 2, preload=(package,)) == {0: 0, 1: 1}
    assert no_failures == ["it ended with code 7 while it imported zt_dies:\nlast words"]
    assert zygote_pids() == []


def test_a_zygote_that_imports_for_too_long_is_given_up(
    packages: Packages, announcements: Announcements, monkeypatch: pytest.MonkeyPatch, no_failures: list[str]
) -> None:
    package = packages.write_blocking("zt_blocks", announcements)
    LocalEngine((package,)).get_ready(PREPARE, REHEARSE)
    # only then can it be blamed: a zygote that is given up earlier was still being born
    assert announcements.pids(1) == zygote_pids()
    with monkeypatch.context() as patch:
        patch.setattr(zygote_client, "_IMPORT_PATIENCE", 0.0)
        assert ask("rank", 2, preload=(package,)) == {0: 0, 1: 1}
    assert zygote_pids() == []
    assert no_failures == ["a zygote had not come to the end of its imports after 0 s"]
    # or every launch would wait for the same
    assert ask("import sys\n'zt_blocks' in sys.modules", 2, preload=(package,)) == {0: False, 1: False}
    assert ZYGOTES.state()[0]["left_out"] == {"zt_blocks": "its import took too long, or did not end"}
    assert len(no_failures) == 1


@pytest.mark.parametrize(
    ("death", "why"),
    [
        ("os._exit(7)", "its import ended the process, with exit code 7"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its import ended the process, with exit code -11"),
        # it may have been somebody else, for another reason
        ("os.kill(os.getpid(), signal.SIGKILL)", "its import ended the process, with exit code -9"),
    ],
)
def test_a_module_that_a_zygote_dies_of_is_left_out(
    packages: Packages, no_failures: list[str], death: str, why: str
) -> None:
    packages.write("zt_before", "")
    packages.write("zt_dies", f"import os, signal\n{death}")
    preload = ("zt_before", "zt_dies")
    attempts = 2 if "KILL" in death else 1
    for _ in range(attempts):
        assert ask("rank", preload=preload) == {0: 0}
    assert len(no_failures) == attempts
    assert ask("import sys\n'zt_before' in sys.modules", preload=preload) == {0: True}
    assert ZYGOTES.state()[0]["left_out"] == {"zt_dies": why}
    assert len(no_failures) == attempts


HANGS = "import time, nblaunch.processes.starting.zygote as zygote\nzygote.fork = lambda: time.sleep(1000)"


def test_a_zygote_that_does_not_fork_is_given_up(
    packages: Packages, monkeypatch: pytest.MonkeyPatch, no_failures: list[str]
) -> None:
    package = packages.write("zt_hangs", HANGS)
    LocalEngine((package,)).get_ready(PREPARE, REHEARSE)
    pid = zygote_pids()[0]
    monkeypatch.setattr(zygotes, "_HELLO_PATIENCE", 0.1)
    assert ask("rank", 2, preload=(package,)) == {0: 0, 1: 1}
    assert_gone([pid])
    assert no_failures == ["a process that was to fork ranks did not answer within 0 s"]


@pytest.mark.parametrize("module", ["zygote", "forkserver"])
def test_the_system_refuses_the_fork(packages: Packages, module: str) -> None:
    package = packages.write(
        "zt_refused",
        f"import nblaunch.processes.starting.{module} as module\n"
        "def fork(): raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "module.fork = fork",
    )
    if module == "zygote":
        assert ask("rank", 2, preload=(package,)) == {0: 0, 1: 1}
    else:
        with pytest.raises(OSError, match=r"the system refused another process: .*temporarily unavailable"):
            ask("rank", 2, preload=(package,))
    ZYGOTES.close()
    assert not PARENT_ONLY_FDS


def test_whoever_was_stopped_while_it_waited_goes_on() -> None:
    for who in range(3):
        ask("1", 2)
        pid = (zygote_pids()[0], ahead().pid, spares()[0])[who]
        os.kill(pid, signal.SIGSTOP)
        assert ask("rank", 3) == {0: 0, 1: 1, 2: 2}
    assert len(zygote_pids()) == 1


def test_a_zygote_that_another_thread_ends_while_it_is_waited_for(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_failures: list[str]
) -> None:
    class Elsewhere(Supervisor):
        """While it waits, another thread ends the zygote, and what is opened next gets the same numbers."""

        def wait_readable(self, descriptor: int, seconds: float | None = None) -> None:
            if ZYGOTES.state():
                ZYGOTES.close()
                others.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(100))
            super().wait_readable(descriptor, seconds)

    others: list[int] = []
    gate = targets.Gate(tmp_path / "gate")
    package = packages.write_waiting("slow", gate)
    monkeypatch.setattr("nblaunch.processes.gang.gang.Supervisor", Elsewhere)
    assert ask("'slow', rank", 2, preload=(package,)) == {0: ("slow", 0), 1: ("slow", 1)}
    gate.close()
    for descriptor in others:
        os.close(descriptor)
    assert (len(others), zygote_pids(), no_failures) == (100, [], [])


# ---- a forkserver and spares that wait


def test_a_forkserver_that_dies_while_it_waits(no_failures: list[str]) -> None:
    ask("1", 2)
    waiting, helper = spares(), ahead().pid
    os.kill(helper, signal.SIGKILL)
    assert_gone([helper])
    found = ask(WHO, 2)
    assert not {pid for pid, _ in found.values()} & set(waiting)
    assert_gone(waiting)
    assert (len(zygote_pids()), no_failures) == (1, [])


SLOW_CHILDREN = """
import contextlib, fcntl, os
import nblaunch.processes.starting.forkserver as module
fork = module.fork
def slow_in_the_child():
    pid = fork()
    if pid == 0:
        with contextlib.suppress(FileNotFoundError), open({gate!r}) as gate:
            with open({announcements!r}, "w") as pipe:
                print(os.getpid(), file=pipe)
            fcntl.flock(gate, fcntl.LOCK_SH)
    return pid
module.fork = slow_in_the_child
"""


def test_a_forkserver_that_dies_before_its_spares_have_let_go_of_its_connection(
    packages: Packages,
    announcements: Announcements,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_failures: list[str],
) -> None:
    place = tmp_path / "gate"
    source = SLOW_CHILDREN.format(gate=str(place), announcements=announcements.path)
    package = packages.write("zt_slow_children", source)
    engine = LocalEngine((package,), spares=0)
    assert ask("rank", engine=engine) == {0: 0}
    with contextlib.closing(targets.Gate(place)):
        zygote = ZYGOTES._processes[0]
        zygote.ahead = Ahead(zygote.order(2, 0.0, None), math.inf)
        waiting, helper = spares(), ahead().pid
        assert sorted(announcements.pids(2)) == sorted(waiting)
        place.unlink()  # who is forked from now on does not wait
        os.kill(helper, signal.SIGKILL)
        assert_gone([helper])
        assert ZYGOTES.state()[0]["spares"][0] == 0
        # the spares hold on to the connection, so that there is no end of it to wait for
        monkeypatch.setattr(forkserver_connection, "PATIENCE", 0.0)
        assert not {pid for pid, _ in ask(WHO, 2, engine=engine).values()} & set(waiting)
    assert_gone(waiting)
    assert (len(zygote_pids()), no_failures) == (1, [])


def test_spares_that_die_while_they_wait(no_failures: list[str]) -> None:
    ask("1", 3)
    waiting = spares()
    os.kill(waiting[1], signal.SIGKILL)
    assert_gone([waiting[1]])
    assert ZYGOTES.state()[0]["spares"][0] == 2
    found = [pid for pid, _ in ask(WHO, 3).values()]
    assert found[:2] == [waiting[0], waiting[2]]
    assert no_failures == []


def test_a_forkserver_whose_sockets_cannot_all_be_taken() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mailbox, spare = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, spare:
        with mailbox:
            hello = json.dumps({"pid": 0, "problem": "", "spares": [1, 2]})
            socket.send_fds(theirs, [hello.encode()], [mailbox.fileno()])
        connection = Connection(ours, {})
        connection.hear()
        assert [pid for pid, _ in connection.spares] == [1]
        theirs.send(b'{"gone": true}')
        connection.close()


# ---- interrupts and ends


def test_a_launch_that_is_ended_while_the_zygote_imports(packages: Packages, tmp_path: Path) -> None:
    gate = targets.Gate(tmp_path / "gate")
    package = packages.write_waiting("slow", gate)
    rank_spec = RankSpec(0, "x:y", env=dict(os.environ), sys_path=tuple(sys.path))
    gang = Gang([rank_spec], Zygote, lambda _: None, preparation=Preparation("nblaunch.rank.main", modules=(package,)))
    refusals: list[BaseException] = []

    def begin() -> None:
        try:
            gang.start()
        except BaseException as error:
            refusals.append(error)

    thread = threading.Thread(target=begin)
    thread.start()
    gang.end("enough", KILL)
    thread.join(LIMIT)
    assert [type(error) for error in refusals] == [InterruptedError]
    gate.close()
    assert len(zygote_pids()) == 1, "the zygote is not to blame"


def test_a_start_that_does_not_come_is_ended_when_the_time_is_over(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "_MIN_SECONDS_TO_START", 1.0)
    gate = targets.Gate(tmp_path / "gate")
    package = packages.write_waiting("zt_slow", gate)
    for nprocs in (1, 2):
        with pytest.raises(TimeoutError) as caught:
            start(f"import {package}", nprocs, preload=(package,), timeout=0.3)
        assert str(caught.value) == (
            "the ranks had not started after 1 s, and the run has a timeout: it was ended. Allow it more time "
            "(timeout, --timeout), or try start method spawn, which waits for nothing"
        )
    [zygote] = zygote_pids()
    gate.close()
    assert ask("rank", preload=(package,)) == {0: 0}
    assert zygote_pids() == [zygote], "it is not to blame"


def test_what_a_zygote_imports_is_told_to_those_who_wait(packages: Packages, tmp_path: Path) -> None:
    gate = targets.Gate(tmp_path / "gate")
    package = packages.write_waiting("zt_slow", gate)
    rank_spec = RankSpec(0, "x:y", env=dict(os.environ), sys_path=tuple(sys.path))
    told: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, GettingReady):
            told.append(event.importing)
            if event.importing == package:
                gate.close()

    preparation = Preparation("nblaunch.rank.main", modules=(package,))
    gang = Gang([rank_spec], Zygote, note, preparation=preparation)
    gang.start()
    assert gang.join(LIMIT)
    # it may have been seen before it had begun to import
    assert [name for name in told if name] == [package]


PROGRAM = """
import os, select, signal, sys, threading, time
import nblaunch
from nblaunch.engines.local import LocalEngine
from nblaunch.processes.starting.zygotes import ZYGOTES

def pids():
    found = []
    for zygote in ZYGOTES._processes:
        found.append(zygote.process.pid)
        if zygote.ahead is not None:
            connection = zygote.ahead.connection
            if not connection._greeted:
                poll = select.poll()
                poll.register(connection.server, select.POLLIN)
                poll.poll()
                connection.hear()
            found += [connection.pid, *(pid for pid, _ in connection.spares)]
    return found
"""


@pytest.fixture
def program(tmp_path: Path, packages: Packages) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a program in a process of its own; it prints process ids that are to be gone after it."""
    started: list[subprocess.Popen[str]] = []

    def begin(source: str) -> subprocess.Popen[str]:
        path = tmp_path / f"program{len(started)}.py"
        path.write_text(PROGRAM + source)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", ["ends", "exits", "fails", "is killed", "is terminated"])
def test_a_program_leaves_nothing(program: Callable[[str], subprocess.Popen[str]], how: str) -> None:
    end = {
        "ends": "",
        "exits": "os._exit(0)",
        "fails": "raise SystemExit(3)",
        "is killed": "os.kill(os.getpid(), signal.SIGKILL)",
        "is terminated": "os.kill(os.getpid(), signal.SIGTERM)",
    }[how]
    process = program(f"nblaunch.launch('rank', 2, quiet=True)\nprint(*pids(), flush=True)\n{end}\n")
    out, err = process.communicate(timeout=60)
    pids = [int(pid) for pid in out.split()]
    assert (len(pids), err) == (4, "")
    assert_gone(pids)


IMPORTING = "LocalEngine(('zt_blocks',)).get_ready('nblaunch.rank.main:prepare', '')\n[pid] = pids()\n"


def test_a_program_that_is_killed_while_a_zygote_imports(
    program: Callable[[str], subprocess.Popen[str]], packages: Packages, announcements: Announcements
) -> None:
    packages.write_blocking("zt_blocks", announcements)
    process = program(f"{IMPORTING}print(pid, flush=True)\ninput()\n")
    assert process.stdout is not None
    pids = [int(process.stdout.readline())]
    assert announcements.pids(1) == pids
    process.kill()
    assert_gone(pids)


def test_a_program_that_is_killed_before_its_zygote_has_a_guard(
    program: Callable[[str], subprocess.Popen[str]], packages: Packages, announcements: Announcements
) -> None:
    packages.write_blocking("zt_blocks", announcements)
    process = program(
        f"{IMPORTING}os.kill(pid, signal.SIGSTOP)\nprint(pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out, _ = process.communicate(timeout=60)
    os.kill(int(out), signal.SIGCONT)
    assert_gone([int(out)])


def test_a_program_that_is_killed_while_all_that_waits_is_stopped(
    program: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = program(
        "nblaunch.launch('rank', 2, quiet=True)\n"
        "found = pids()\n"
        "assert len(found) == 4\n"  # zygote, forkserver, two spares
        "for pid in found:\n"
        "    os.kill(pid, signal.SIGSTOP)\n"
        "print(*found, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out, _ = process.communicate(timeout=60)
    assert_gone([int(pid) for pid in out.split()])


def test_a_program_that_forks_itself(program: Callable[[str], subprocess.Popen[str]]) -> None:
    process = program(
        "nblaunch.launch('rank', 2, quiet=True)\n"
        "before = pids()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    assert ZYGOTES.state() == []\n"
        "    ZYGOTES.close()\n"
        "    assert nblaunch.launch('rank', 2, quiet=True).results == {0: 0, 1: 1}\n"
        "    assert not set(pids()) & set(before)\n"
        "    print(*pids(), flush=True)\n"
        "    sys.exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert pids() == before\n"
        "run = nblaunch.launch('import os\\nos.getpid()', 2, quiet=True)\n"
        "assert set(run.results.values()) <= set(before), (run.results, before)\n"
        "print(*pids(), flush=True)\n"
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    pids = [int(pid) for pid in out.split()]
    assert len(pids) == 8
    assert_gone(pids)


def test_interrupts_while_launching(program: Callable[[str], subprocess.Popen[str]]) -> None:
    process = program(
        "import gc, random, warnings\n"
        # one that comes inside of socket.socketpair() leaves a socket to the collector, and nobody can help it
        "warnings.simplefilter('ignore', ResourceWarning)\n"
        "random.seed(1)\n"
        "def interrupt():\n"
        "    while True:\n"
        "        go.wait()\n"
        "        go.clear()\n"
        "        time.sleep(random.random() * 0.03)\n"
        "        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)\n"
        "go = threading.Event()\n"
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        "nblaunch.launch('rank', 2, quiet=True)\n"
        "interrupted = 0\n"
        "runs = []\n"
        "for _ in range(60):\n"
        "    try:\n"
        "        gc.collect()\n"  # or an interrupt may come while a run is collected, where Python ignores it
        "        go.set()\n"
        "        runs.append(nblaunch.launch('rank', 2, quiet=True))\n"
        "        time.sleep(10)\n"
        "    except KeyboardInterrupt:\n"
        "        interrupted += 1\n"
        "assert nblaunch.launch('rank', 2, quiet=True).results == {0: 0, 1: 1}\n"
        "print(interrupted, list(ZYGOTES.failures))\n"
        "print(*pids(), flush=True)\n"
    )
    out, err = process.communicate(timeout=100)
    assert err == ""
    told, pids = out.splitlines()
    assert told == "60 []"
    assert_gone([int(pid) for pid in pids.split()])


def test_closed_streams_of_the_program(program: Callable[[str], subprocess.Popen[str]]) -> None:
    process = program(
        "said = os.dup(1)\n"
        "os.close(1)\nos.close(2)\n"
        "found = [nblaunch.launch('print(1)\\nrank', 2, quiet=True).results for _ in range(2)]\n"
        "os.write(said, f'{found}\\n'.encode())\n"
        "os._exit(0)\n"
    )
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("[{0: 0, 1: 1}, {0: 0, 1: 1}]\n", "")


def test_a_program_with_thousands_of_open_files(program: Callable[[str], subprocess.Popen[str]]) -> None:
    process = program(
        "import resource\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))\n"
        "files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]\n"
        "found = [nblaunch.launch('rank', 2, quiet=True).results for _ in range(3)]\n"
        "print(found, len(pids()), list(ZYGOTES.failures))\n"
        "print(nblaunch.launch('rank', 2, quiet=True, start_method='forkserver').results)\n"
    )
    out, err = process.communicate(timeout=60)
    assert (out, err) == (f"{[{0: 0, 1: 1}] * 3} 4 []\n{{0: 0, 1: 1}}\n", "")


def test_no_zygote_is_a_child_of_a_rank(announcements: Announcements) -> None:
    """A rank may launch too; what it has made goes with it."""
    # such as the resource tracker of multiprocessing, which stays until this process ends
    before = psutil.Process().children()
    source = (
        "import nblaunch\nfrom nblaunch.processes.starting.zygotes import ZYGOTES\n"
        "[nblaunch.launch('rank', 1, quiet=True).results for _ in range(2)], ZYGOTES.state()[0]['pid']"
    )
    results, pid = ask(source)[0]
    assert results == [{0: 0}] * 2
    assert_gone([pid])
    assert pid not in zygote_pids()
    others = [child for child in psutil.Process().children() if child not in before]
    assert not [child for child in others if child.pid not in zygote_pids()]
    assert report()["problem"] == ""
