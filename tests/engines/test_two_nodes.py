"""Runs on two nodes behind the contract of engines: numbers, logs, failures, orders and restarts across both."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from nblaunch.engines.base import Engine
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.runs.failures import RanksFailed
from nblaunch.runs.run import Run
from tests.engines.two_nodes import TwoNodes


@pytest.fixture
def engine() -> Iterator[Engine]:
    with TwoNodes() as made:
        yield made


def run_cell(source: str, engine: Engine, **options: Any) -> Run:
    names = {"__name__": "__main__", "offset": 10}
    return launch(source, 4, notebook=Notebook(names), engine=engine, panel="none", **options)


MEET = """
import os, socket
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if rank == 0:
    with socket.create_server(address) as server:
        others = {}
        while len(others) < world_size - 1:
            connection, _ = server.accept()
            others[int(connection.recv(10))] = connection
        for connection in others.values():
            connection.sendall(b"all of %d" % world_size)
            connection.close()
    told = "all of 4"
else:
    while True:
        try:
            connection = socket.create_connection(address)
            break
        except ConnectionRefusedError:
            pass
    with connection:
        connection.sendall(b"%d" % rank)
        told = connection.recv(100).decode()
print("rank", rank, "met", told)
rank + offset, local_rank, os.environ["GROUP_RANK"], told
"""


def test_ranks_of_two_nodes_meet_and_return(engine: Engine) -> None:
    began = time.monotonic()
    run = run_cell(MEET, engine)
    assert run.results == {rank: (rank + 10, rank % 2, str(rank // 2), "all of 4") for rank in range(4)}
    assert len(set(run.pids.values())) == 4
    # their logs are read where they are
    assert run.logs[3].stdout == "rank 3 met all of 4\n"
    assert run.logs.path == "/on/two/nodes/attempt_0"
    # their clocks are thousands of seconds ahead, and that of the run is the one here
    assert run._ended_at is not None
    assert began < run._ended_at < time.monotonic()


FAIL_WHEN_OTHERS_WAIT = """
import os, socket, threading
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
def wait_for_rank_3(connection):
    connection.sendall(b"x")
    connection.recv(1)
    threading.Event().wait()
if rank == 3:
    with socket.create_server(address) as server:
        connections = [server.accept()[0] for _ in range(3)]
        for connection in connections:
            connection.recv(1)
        raise ValueError(f"bad {offset}")
while True:
    try:
        connection = socket.create_connection(address)
        break
    except ConnectionRefusedError:
        pass
wait_for_rank_3(connection)
"""


def test_a_failure_on_one_node_ends_the_other(engine: Engine) -> None:
    run = run_cell(FAIL_WHEN_OTHERS_WAIT, engine)
    assert (run.status, sorted(run.failures)) == ("failed", [0, 1, 2, 3])
    cause = run.root_cause
    assert cause is not None
    assert (cause.rank, cause.local_rank, str(cause.exception)) == (3, 1, "bad 10")
    assert 'raise ValueError(f"bad {offset}")' in cause.traceback
    assert [rank for rank, failure in run.failures.items() if failure.collateral] == [0, 1, 2]
    for rank in (0, 1, 2):
        stack = run.failures[rank].stack
        assert stack is not None
        assert any(frame.function == "wait_for_rank_3" for frame in stack.threads[0])
    with pytest.raises(RanksFailed, match="ValueError: bad 10"):
        run.raise_for_failures()


def test_a_run_on_two_nodes_is_stopped(engine: Engine) -> None:
    run = run_cell("import threading\nprint('here', flush=True)\nthreading.Event().wait()", engine, wait=False)
    ready = threading.Event()
    while not all(run.logs and run.logs[rank].stdout == "here\n" for rank in range(4)):
        ready.wait(0.01)
    assert sorted(run.stacks()) == [0, 1, 2, 3]
    run.stop()
    assert run.wait(60)
    assert (run.status, sorted(run.failures), run.root_cause) == ("stopped", [0, 1, 2, 3], None)


def test_restarts_are_above_any_engine(engine: Engine) -> None:
    source = (
        "import os\nprint('attempt', os.environ['TORCHELASTIC_RESTART_COUNT'])\n"
        "if rank == 2 and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n    raise ValueError('first')\nrank"
    )
    run = run_cell(source, engine, max_restarts=1)
    assert run.results == {0: 0, 1: 1, 2: 2, 3: 3}
    first = run.attempts[0].root_cause
    assert first is not None
    assert (first.rank, str(first.exception)) == (2, "first")
    assert [attempt.logs[2].stdout for attempt in run.attempts] == ["attempt 0\n", "attempt 1\n"]


def test_a_plan_that_a_node_cannot_carry_out_starts_nothing(engine: Engine) -> None:
    with pytest.raises(ValueError, match="two nodes need at least two ranks"):
        launch("rank", 1, engine=engine, panel="none")
