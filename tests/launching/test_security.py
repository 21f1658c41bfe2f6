"""What ``docs/security.md`` says, held against the code."""

from __future__ import annotations

import ast
import os
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import nblaunch
from nblaunch.engines.local_ranks import LocalRanks, reserve_port
from nblaunch.launching.session import launch
from nblaunch.payload import pack
from nblaunch.processes.starting.start_methods import START_METHODS
from nblaunch.runs.run import Run
from tests.processes.targets import write_to_sockets

PACKAGE = Path(nblaunch.__file__).parent


# ---- files


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def _any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def fail() -> None:
    print("out")
    print("err", file=sys.stderr)
    raise ValueError("boom")


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.usefixtures("_any_umask")
def test_nobody_else_can_read_what_a_run_writes(tmp_path: Path, method: str, kept: bool) -> None:
    run = launch(fail, 2, start_method=method, log_dir=str(tmp_path / "logs") if kept else None, panel="none")
    top = Path(run.logs.root)
    # a folder that the user has named is the user's affair, what is below it is not
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in top.rglob("*")}
    if not kept:
        found |= {path: stat.S_IMODE(path.stat().st_mode) for path in (top, top.parent)}
        found[top.parent / "owner.lock"] = stat.S_IMODE((top.parent / "owner.lock").stat().st_mode)
    names = {path.name for path in found}
    assert {"stdout.log", "stderr.log", "error.json", "attempt_0", "0", "1"} <= names
    assert {path: oct(mode) for path, mode in found.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


# ---- sockets


def tell_sockets() -> None:
    """Tell what a program that this process starts gets of it, and wait to be killed."""
    import subprocess

    found = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True)
    print(found.stdout, "ready", flush=True)
    threading.Event().wait()


def sockets_of(pid: int) -> set[str]:
    """Return the sockets that a process has open, as the kernel calls them."""
    found = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = str(Path(f"/proc/{pid}/fd/{entry}").readlink())
        except FileNotFoundError:
            continue
        if link.startswith("socket:"):
            found.add(link)
    return found


def wait_until_ready(run: Run) -> None:
    deadline = time.monotonic() + 30
    while not all("ready" in logs.stdout for logs in run.logs.values()):
        assert time.monotonic() < deadline, [logs.stderr for logs in run.logs.values()]
        os.sched_yield()


@contextmanager
def running(method: str) -> Iterator[Run]:
    run = launch(tell_sockets, 2, start_method=method, wait=False, panel="none")
    try:
        wait_until_ready(run)
        yield run
    finally:
        run.kill()
        run.wait()


@pytest.mark.parametrize("method", START_METHODS)
def test_nobody_listens_and_no_socket_has_a_name(method: str) -> None:
    with running(method):
        ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
        assert len(ours) >= 3
        for process in ours:
            name = "net_connections" if hasattr(process, "net_connections") else "connections"  # older psutil
            connections = getattr(process, name)("all")
            assert [one for one in connections if one.status == psutil.CONN_LISTEN] == []
            # a socket pair has no address to connect to, neither in the file system nor an abstract one
            assert {one.laddr for one in connections if one.family == socket.AF_UNIX} <= {""}


@pytest.mark.parametrize("method", START_METHODS)
def test_nobody_else_has_the_sockets_of_a_rank(method: str) -> None:
    with running(method) as run:
        ranks = run._ranks
        assert isinstance(ranks, LocalRanks)
        assert ranks._gang is not None
        here = sockets_of(os.getpid())
        everybody = {process.pid: sockets_of(process.pid) for process in psutil.Process().children(recursive=True)}
        assert set(run.pids.values()) <= everybody.keys()
        for rank in ranks._gang._supervisor.ranks.values():
            assert rank.inbox is not None
            ours = str(Path(f"/proc/self/fd/{rank.inbox.fileno()}").readlink())
            assert [pid for pid, sockets in everybody.items() if ours in sockets] == []
            theirs = everybody[rank.pid] - here
            assert len(theirs) == 1
            assert [pid for pid, sockets in everybody.items() if sockets & theirs] == [rank.pid]
        # and what a rank starts does not get it either
        for logs in run.logs.values():
            assert " 0 -> /dev/null" in logs.stdout
            assert "socket:" not in logs.stdout


def test_the_port_of_a_run_is_kept_on_loopback_and_nobody_answers() -> None:
    with reserve_port() as reservation:
        address = reservation.getsockname()
        assert address[0] == "127.0.0.1"
        assert reservation.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(address)


def test_ranks_meet_on_loopback() -> None:
    run = launch("import os\nos.environ['MASTER_ADDR']", 1, panel="none")
    assert run.results == {0: "127.0.0.1"}


# ---- what comes from ranks


def modules_that_name(*names: str) -> set[str]:
    """Return the modules that use one of these names."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            if name in names:
                found.add(path.relative_to(PACKAGE).as_posix())
    return found


def test_only_these_unpickle() -> None:
    # pickles are read in one package
    assert {name.partition("/")[0] for name in modules_that_name("pickle", "cloudpickle", "marshal")} == {"payload"}
    users = {name for name in modules_that_name("unpack", "unpack_named") if not name.startswith("payload/")}
    # which the kernel asks about reports of ranks, and ranks about what the kernel has sent
    in_kernel = {"runs/attempt_recorder.py", "runs/rebuilding.py", "processes/elastic/function_context.py"}
    in_ranks = {
        "rank/main.py",
        "rank/main_module.py",
        "rank/setting_up.py",
        "rank/settings.py",
        "processes/elastic/function.py",
    }
    # struct.Struct has a method of that name
    assert users - {"processes/child/channel.py", "processes/gang/inbox.py"} == in_kernel | in_ranks


FORGED: list[tuple[str, bytes]] = [
    ("error", b"garbage"),
    ("error", bytes(pack(7))),
    ("error", bytes(pack({"exception": b"x"}))),
    ("error", bytes(pack({"exception": 1, "type": 2, "text": 3, "traceback": 4}))),
    ("value", b"garbage"),
    ("value", bytes(pack(7))),
    ("value", bytes(pack({"no value": 7}))),
]


def forge(kind: str, body: bytes) -> None:
    """Write a message to every socket of this process, as somebody might who knows how."""
    head = struct.pack("!4sBQd", b"NBLM", len(kind), len(body), time.monotonic())
    write_to_sockets(head + kind.encode() + body)
    os._exit(1)


@pytest.mark.parametrize(("kind", "body"), FORGED)
def test_a_rank_that_sends_nonsense_has_failed_and_nothing_more(
    kind: str, body: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        if os.environ["RANK"] == "0":
            forge(kind, body)
        return 7

    run = launch(work, 2, on_failure="continue", panel="text")
    assert run.status == "failed"
    assert run.results == {1: 7}
    failure = run.failures[0]
    assert not failure.collateral
    expected = "it sent bytes that are no exception (" if kind == "error" else "arrived but cannot be rebuilt"
    assert expected in failure.message
    assert repr(failure)
    assert str(nblaunch.RanksFailed(run))
    assert caplog.messages == []
    assert "Traceback" not in capsys.readouterr().err
