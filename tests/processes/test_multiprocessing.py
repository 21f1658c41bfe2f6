"""What `multiprocessing` knows of ranks that run a function, and its objects as their arguments."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import pytest

from tests.processes import targets
from tests.processes.conftest import Launch
from tests.processes.targets import LIMIT
from tests.processes.test_start_processes import result_of

NAMES = {
    "spawn": "SpawnProcess",
    "fork": "ForkProcess",
    "forkserver": "ForkServerProcess",
    "zygote": "ForkServerProcess",
}


def context_for(method: str) -> Any:
    """Return the context whose objects can be given to ranks: locks of `fork` have no names, as torch says too."""
    return multiprocessing.get_context("fork" if method == "fork" else "spawn")


@pytest.fixture(scope="module", autouse=True)
def what_multiprocessing_keeps() -> None:
    """Have its helper process and its block of shared memory from the beginning: they stay until this process ends."""
    resource_tracker.ensure_running()
    multiprocessing.get_context("spawn").Array("i", 2)


def test_a_rank_is_a_child_of_multiprocessing(launch: Launch, method: str) -> None:
    values = result_of(launch(targets.as_multiprocessing_sees_it, {0: (), 1: ()}, method)).return_values
    names = [told.pop("name") for told in values.values()]
    children = [told.pop("child's name") for told in values.values()]
    assert len(set(names)) == 2
    assert {name.partition("-")[0] for name in names} == {NAMES[method]}
    assert children == [f"Process-{name.partition('-')[2]}:1" for name in names]
    told = {
        "parent": (multiprocessing.current_process().name, os.getpid(), True),
        "start method": "forkserver" if method == "zygote" else method,
        "authkey": bytes(multiprocessing.current_process().authkey),
        "children": 0,
    }
    assert values == {0: told, 1: told}


def test_the_parent_keeps_its_choice_of_a_start_method(tmp_path: Path) -> None:
    code = (
        "import multiprocessing as mp\n"
        "from nblaunch.processes import DefaultLogsSpecs, start_processes\n"
        "if __name__ == '__main__':\n"
        "    start_processes('x', max, {0: (1, 2)}, {0: {}}, DefaultLogsSpecs('logs')).wait()\n"
        "    assert mp.get_start_method(allow_none=True) is None\n"
        "    mp.set_start_method('forkserver')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT, cwd=tmp_path)


def test_its_objects_are_shared(launch: Launch, method: str) -> None:
    ctx = context_for(method)
    queue, simple = ctx.Queue(), ctx.SimpleQueue()
    number, numbers = ctx.Value("i", 0), ctx.Array("i", 2)
    lock, event, barrier, semaphore = ctx.Lock(), ctx.Event(), ctx.Barrier(2), ctx.Semaphore(1)
    shared = (queue, simple, number, numbers, lock, event, barrier, semaphore)
    result = result_of(launch(targets.use_shared_objects, {rank: (rank, *shared) for rank in range(2)}, method))
    assert result.failures == {}
    assert sorted([queue.get(timeout=LIMIT), queue.get(timeout=LIMIT)]) == [0, 1]
    assert sorted([simple.get(), simple.get()]) == [0, 1]
    assert (number.value, numbers[:], event.is_set()) == (2, [1, 2], True)
    queue.close()
    queue.join_thread()


def test_managers(launch: Launch, method: str) -> None:
    with multiprocessing.Manager() as manager:
        table, things = manager.dict(), manager.list()
        result = result_of(launch(targets.note_in, {rank: (rank, table, things) for rank in range(2)}, method))
        assert result.failures == {}
        assert (dict(table), sorted(things)) == ({0: "rank 0", 1: "rank 1"}, [0, 1])


def test_ends_of_pipes(launch: Launch, method: str) -> None:
    ctx = context_for(method)
    ours, theirs = ctx.Pipe()
    context = launch(targets.answer, {0: (theirs,)}, method)
    theirs.close()
    ours.send("question")
    assert ours.poll(LIMIT)
    assert ours.recv() == "answer to question"
    # nobody else holds the other end
    with pytest.raises(EOFError):
        ours.recv()
    assert not result_of(context).is_failed()


@pytest.mark.parametrize("method", ["spawn", "forkserver", "zygote"])
def test_a_rank_holds_only_what_it_was_given(launch: Launch, method: str) -> None:
    reader, writer = context_for(method).Pipe(duplex=False)
    context = launch(targets.read_to_the_end, {0: (reader, None), 1: (None, writer)}, method)
    reader.close()
    writer.close()
    assert result_of(context).return_values == {0: ["written"], 1: []}


@pytest.mark.parametrize("method", ["spawn", "forkserver", "zygote"])
def test_sockets(launch: Launch, method: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        context = launch(targets.say_hello_to, {0: (theirs,)}, method)
        assert result_of(context).return_values == {0: None}
        assert ours.recv(5) == b"hello"


def test_shared_memory_is_the_parents(launch: Launch, method: str) -> None:
    memory = SharedMemory(create=True, size=8)
    try:
        assert not result_of(launch(targets.write_into, {0: (memory,), 1: (memory,)}, method)).is_failed()
        assert memory.buf is not None
        assert bytes(memory.buf[:2]) == b"ok"
        again = SharedMemory(memory.name)
        again.close()
    finally:
        memory.close()
        memory.unlink()


def test_more_pipes_than_fit_into_one_message(launch: Launch, method: str) -> None:
    pipes = [context_for(method).Pipe(duplex=False) for _ in range(300)]
    try:
        readers = [reader for reader, _ in pipes]
        for number, (_, writer) in enumerate(pipes):
            writer.send(number)
        assert result_of(launch(targets.read_all, {0: (readers,)}, method)).return_values == {0: list(range(300))}
    finally:
        for pipe in pipes:
            for end in pipe:
                end.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 itself does not refuse it")
@pytest.mark.parametrize("method", ["spawn", "forkserver", "zygote"])
def test_a_lock_of_another_context_is_refused_before_anything_starts(launch: Launch, method: str) -> None:
    lock = multiprocessing.get_context("fork").Lock()
    with pytest.raises(TypeError, match=r"args\[0\]\[0\], of type Lock, cannot be pickled.*fork context"):
        launch(targets.value, {0: (lock,)}, method)


@pytest.mark.torch
@pytest.mark.parametrize("make", ["plain", "shared", "model", "view"])
def test_tensors_are_shared_as_torch_shares_them(launch: Launch, method: str, make: str) -> None:
    torch = pytest.importorskip("torch")
    made: dict[str, Callable[[], Any]] = {
        "plain": lambda: torch.zeros(4),
        "shared": lambda: torch.zeros(4).share_memory_(),
        "model": lambda: torch.nn.Linear(4, 1).share_memory(),
        "view": lambda: torch.zeros(4).share_memory_()[:2],
    }
    thing = made[make]()
    look = thing.weight.detach() if make == "model" else thing
    before = look.clone()
    result = result_of(launch(targets.add_one, {rank: (rank, thing) for rank in range(2)}, method))
    assert result.failures == {}
    # what is not in shared memory is copied by a fork, and moved there to be sent
    expected = 0 if (make, method) == ("plain", "fork") else 2
    assert (look - before).round().tolist() == torch.full_like(look, expected).tolist()


@pytest.mark.torch
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_many_tensors(launch: Launch, method: str) -> None:
    torch = pytest.importorskip("torch")
    tensors = [torch.full((2,), number) for number in range(300)]
    assert result_of(launch(targets.sum_of_firsts, {0: (tensors,)}, method)).return_values == {0: sum(range(300))}


def test_children_of_a_rank_after_a_parallel_computation(launch: Launch, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = result_of(launch(targets.compute_here_and_in_a_child, {0: ()}, "spawn"))
    assert result.return_values == {0: (200.0, 200.0)}
