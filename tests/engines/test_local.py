"""The local engine: ports, torchrun's variables, events, and the folders of the logs."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from nblaunch.engines.base import Placement, Plan, Ranks, Surroundings
from nblaunch.engines.local import LocalEngine
from nblaunch.engines.local_ranks import reserve_port
from nblaunch.engines.restarts import prepare_with_restarts
from nblaunch.events import Ended, Ending, Event, Exited, Finished, GettingReady, Launched, Started, TimedOut
from nblaunch.logs.reader import STDOUT
from nblaunch.messages.work import VALUE, Work
from nblaunch.payload import pack, pack_named, unpack_named


def plan(cell: str, place: Path, nprocs: int = 2, **options: Any) -> Plan:
    return Plan(
        run_id=f"run_test_{uuid4().hex}",
        nprocs=nprocs,
        entry="nblaunch.rank.main:run",
        prepare="nblaunch.rank.main:prepare",
        payload=(pack(Work(nprocs, cell=cell)), pack_named({})),
        log_dir=str(place),
        **options,
    )


def play(made: Plan) -> list[Event]:
    """Run a plan to its end and return its events."""
    return play_out(made)[0]


def play_out(made: Plan) -> tuple[list[Event], Ranks]:
    """Do the same, and return the ranks too."""
    events: list[Event] = []
    ranks = prepare_with_restarts(LocalEngine(), made, events.append)
    ranks.start()
    assert ranks.join(60)
    return events, ranks


@pytest.mark.parametrize("nprocs", [1_000_000_000, 5_000_000])
def test_more_ranks_than_there_can_be_are_refused(tmp_path: Path, nprocs: int) -> None:
    with pytest.raises(ValueError, match=f"{nprocs} ranks are more than this machine can run, which allows [0-9]+ "):
        LocalEngine().prepare(plan("1", tmp_path, nprocs), print)
    assert not list(tmp_path.iterdir())


def test_fewer_open_files_than_ranks(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        with pytest.raises(ValueError) as caught:
            LocalEngine().prepare(plan("1", tmp_path, 201), print)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(caught.value) == (
        "201 ranks are more than this machine can run, which allows 200 open files in this process (ulimit -n); each "
        "rank takes at least one"
    )


@pytest.mark.parametrize("start_method", ["zygote", "forkserver", "spawn", "fork"])
def test_ranks_go_before_the_notebook_when_memory_has_run_out(tmp_path: Path, start_method: str) -> None:
    cell = "open('/proc/self/oom_score_adj').read().strip()"
    events = play(plan(cell, tmp_path, 1, start_method=start_method))
    values = [unpack_named(event.body)[VALUE] for event in events if isinstance(event, Finished)]
    assert values == ["1000"]
    assert Path("/proc/self/oom_score_adj").read_text().strip() != "1000"


def test_events_come_in_order(tmp_path: Path) -> None:
    # it is told of getting ready if that takes more than a second, as on a busy machine
    events = [event for event in play(plan("rank * 2", tmp_path)) if not isinstance(event, GettingReady)]
    assert [type(event) for event in events[:3]] == [Launched, Started, Started]
    assert isinstance(events[-1], Ended)
    for rank in (0, 1):
        own = [type(event) for event in events if getattr(event, "rank", None) == rank]
        assert own == [Started, Finished, Exited]
    values = {event.rank: unpack_named(event.body)[VALUE] for event in events if isinstance(event, Finished)}
    assert values == {0: 0, 1: 2}
    times = [event.at for event in events if not isinstance(event, Finished)]
    assert times == sorted(times)


def test_log_folders_are_those_of_the_run(tmp_path: Path) -> None:
    events, ranks = play_out(plan("print('x')", tmp_path))
    assert isinstance(events[0], Launched)
    logs = ranks.logs(events[0].attempt)
    path = Path(logs.path)
    assert path.name == "attempt_0"
    assert path.parent.name.startswith("run_test_")
    assert path.parent.parent == tmp_path
    assert [logs.place(rank, STDOUT) for rank in (0, 1)] == [str(path / str(rank) / "stdout.log") for rank in (0, 1)]
    assert logs.read(1, STDOUT, 0, 100) == (path / "1" / "stdout.log").read_bytes() == b"x\n"


def test_each_attempt_has_logs_of_its_own(tmp_path: Path) -> None:
    cell = "import os, sys\nprint(os.environ['TORCHELASTIC_RESTART_COUNT'], flush=True)\nos._exit(3)"
    events, ranks = play_out(plan(cell, tmp_path, 1, max_restarts=1))
    attempts = [event.attempt for event in events if isinstance(event, Launched)]
    assert attempts == [0, 1]
    assert [ranks.logs(attempt).read(0, STDOUT, 0, 100) for attempt in attempts] == [b"0\n", b"1\n"]
    assert [Path(ranks.logs(attempt).path).name for attempt in attempts] == ["attempt_0", "attempt_1"]


def test_what_an_error_file_holds_comes_with_the_exit_of_its_rank(tmp_path: Path) -> None:
    cell = "if rank == 1:\n    raise ValueError('bad')"
    exits = {event.rank: event for event in play(plan(cell, tmp_path)) if isinstance(event, Exited)}
    assert (exits[0].reported, exits[0].error_file) == ("value", None)
    found = exits[1].error_file
    assert found is not None
    (path,) = tmp_path.rglob("error.json")
    assert (found.contents, found.written_at, found.problem) == (path.read_bytes(), path.stat().st_mtime, "")
    assert b"ValueError: bad" in found.contents


def test_an_exit_without_an_error_file_has_none(tmp_path: Path) -> None:
    exits = [event for event in play(plan("import os\nos._exit(3)", tmp_path, 1)) if isinstance(event, Exited)]
    assert [(event.exitcode, event.error_file) for event in exits] == [(3, None)]


def test_the_users_variables_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    monkeypatch.setenv("WORLD_SIZE", "77")
    cell = "import os\ndict(os.environ)"
    events = play(plan(cell, tmp_path, 1, env={"MASTER_PORT": "29500", "OWN": "1"}))
    (environment,) = [unpack_named(event.body)[VALUE] for event in events if isinstance(event, Finished)]
    assert environment["TORCH_NCCL_ASYNC_ERROR_HANDLING"] == "0"
    assert environment["GLOO_SOCKET_IFNAME"] == "eth7"
    assert (environment["MASTER_PORT"], environment["OWN"], environment["WORLD_SIZE"]) == ("29500", "1", "1")
    assert environment["TORCHELASTIC_RUN_ID"].startswith("run_test_")


@pytest.mark.parametrize("start_method", ["zygote", "forkserver", "spawn", "fork"])
def test_ranks_have_the_surroundings_of_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_method: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {"PATH": os.environ["PATH"], "THERE": "1", "GLOO_SOCKET_IFNAME": "eth7"}
    surroundings = Surroundings(environment, str(elsewhere), (*sys.path, "/there"), ("there.py", "--fast"))
    made = plan(
        "import os, sys\nlist(map(os.getenv, ('THERE', 'HERE', 'GLOO_SOCKET_IFNAME'))), os.getcwd(), "
        "sys.path[-1], sys.argv",
        tmp_path,
        1,
        start_method=start_method,
        surroundings=surroundings,
    )
    monkeypatch.setenv("HERE", "1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["here.py"])
    monkeypatch.syspath_prepend("/here")
    (value,) = [unpack_named(event.body)[VALUE] for event in play(made) if isinstance(event, Finished)]
    assert value == (["1", None, "eth7"], str(elsewhere), "/there", ["there.py", "--fast"])


def test_surroundings_are_those_of_the_moment_and_hide_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    before = Surroundings.here()
    monkeypatch.setenv("TOKEN", "other")
    assert before.environment["TOKEN"] == "secret"
    assert "secret" not in repr(before)
    assert "PYTHONHASHSEED" in before.environment
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert "PYTHONHASHSEED" not in Surroundings.here("fork").environment


def test_a_directory_that_this_machine_has_not(tmp_path: Path) -> None:
    surroundings = replace(Surroundings.here(), directory=str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError) as caught:
        LocalEngine().prepare(plan("1", tmp_path, surroundings=surroundings), print)
    assert str(caught.value) == (
        f"the ranks are to work in {tmp_path}/none, but there is no such directory on this machine "
        f"({os.uname().nodename}): make it there, or launch from a directory that all machines have"
    )


def test_a_timeout_names_who_was_running(tmp_path: Path) -> None:
    events = play(plan("import threading\nthreading.Event().wait()", tmp_path, timeout=0.3, grace=0.1))
    assert [(event.ranks, event.seconds) for event in events if isinstance(event, TimedOut)] == [((0, 1), 0.3)]
    assert [event.reason for event in events if isinstance(event, Ending)] == ["the time was over"]


@pytest.mark.parametrize(
    ("order", "reason", "code"),
    [("stop", "the run was stopped", -15), ("kill", "the run was killed", -9), ("interrupt", "the run was inter", -2)],
)
def test_orders_end_the_ranks(tmp_path: Path, order: str, reason: str, code: int) -> None:
    events: list[Event] = []
    waiting = threading.Event()

    def note(event: Event) -> None:
        events.append(event)
        if isinstance(event, Finished):
            waiting.set()

    # rank 0 is past its start when it has sent its value
    cell = "import threading\nif rank: threading.Event().wait()"
    ranks = LocalEngine().prepare(plan(cell, tmp_path), note)
    ranks.start()
    assert waiting.wait(60)
    assert not ranks.join(0)
    getattr(ranks, order)()
    assert ranks.join(60)
    (ending,) = [event for event in events if isinstance(event, Ending)]
    assert ending.reason.startswith(reason)
    (exit_,) = [event for event in events if isinstance(event, Exited) and event.rank == 1]
    assert exit_.collateral
    assert exit_.exitcode in (code, -2)


def test_an_unknown_start_method_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="unknown start_method 'x': choose one of 'zygote', 'forkserver', 'spawn', 'fork'"
    ):
        play(plan("1", tmp_path / "logs", start_method="x"))
    assert not (tmp_path / "logs").exists()


# ---- a part of the ranks of a run

PLACED = """import os
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK",
         "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GLOO_SOCKET_IFNAME")
print(rank)
rank, local_rank, world_size, [os.environ.get(name) for name in names]
"""


@pytest.mark.parametrize("start_method", ["zygote", "spawn"])
def test_ranks_are_numbered_as_their_node_is_placed(tmp_path: Path, start_method: str) -> None:
    """The variables are those that torchrun sets on the second of two nodes."""
    made = plan(PLACED, tmp_path, start_method=start_method, placement=Placement(2, 4, 1, 2, "node7", 29500))
    events, ranks = play_out(replace(made, payload=(pack(Work(4, cell=PLACED)), pack_named({}))))
    assert [(event.nprocs, len(event.hosts)) for event in events if isinstance(event, Launched)] == [(2, 2)]
    for kind in (Started, Finished, Exited):
        assert sorted(event.rank for event in events if isinstance(event, kind)) == [2, 3]
    values = {event.rank: unpack_named(event.body)[VALUE] for event in events if isinstance(event, Finished)}
    assert values == {
        rank: (
            rank,
            local,
            4,
            [str(rank), str(local), "4", "2", "1", "2", str(rank), "4", "node7", "29500", None],
        )
        for rank, local in ((2, 0), (3, 1))
    }
    logs = ranks.logs(0)
    assert [logs.read(rank, STDOUT, 0, 100) for rank in (2, 3)] == [b"2\n", b"3\n"]
    assert [Path(logs.place(rank, STDOUT)).parent.name for rank in (2, 3)] == ["2", "3"]


def test_two_nodes_on_one_disk_have_one_folder(tmp_path: Path) -> None:
    made = replace(plan("print(rank)", tmp_path, 1), run_id="run_shared")
    for node in (1, 0):
        play(replace(made, placement=Placement(node, 2, node, 2, "127.0.0.1", 29500)))
    logs = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("stdout.log"))
    assert logs == [Path("run_shared", "attempt_0", str(rank), "stdout.log") for rank in (0, 1)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_dir()} == {0o700}


def test_a_rank_of_which_there_are_logs_is_not_started_over_them(tmp_path: Path) -> None:
    made = plan("print(rank)", tmp_path, 1)
    play(made)
    with pytest.raises(FileExistsError, match="the logs of a run were to go to "):
        play(made)


def test_a_local_rank_is_counted_on_its_own_host() -> None:
    hosts = ("a", "a", "b", "a", "b")
    assert [Launched(5, 1.0, 0, hosts).local_rank(rank) for rank in range(5)] == [0, 1, 0, 2, 1]
    assert Launched(5, 1.0).local_rank(3) == 3


# ---- ports


def test_a_reserved_port_is_for_ranks_alone() -> None:
    with reserve_port() as reservation, reserve_port() as another:
        address = reservation.getsockname()
        assert address[0] == "127.0.0.1"
        assert address != another.getsockname()
        with socket.socket() as stranger, pytest.raises(OSError) as refused:
            stranger.bind(address)
        assert refused.value.errno == errno.EADDRINUSE
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen()
            with socket.create_connection(address), server.accept()[0]:
                pass


def test_the_port_is_free_again_after_the_run(tmp_path: Path) -> None:
    events = play(plan("import os\nos.environ['MASTER_PORT']", tmp_path, 1))
    (port,) = [int(unpack_named(event.body)[VALUE]) for event in events if isinstance(event, Finished)]
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def test_the_port_is_free_again_after_a_launch_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        play(plan("1", tmp_path / "file"))
    assert len(os.listdir("/proc/self/fd")) == before
