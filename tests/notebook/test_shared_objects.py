"""Objects of `multiprocessing` and shared tensors in cells: they work, are refused by name, or a line says so."""

from __future__ import annotations

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", autouse=True)
def what_multiprocessing_keeps(notebook: Kernel) -> None:
    """Have its helper process and its block of shared memory from the beginning: they stay until the kernel ends."""
    notebook.quietly(
        "import multiprocessing; from multiprocessing import resource_tracker; resource_tracker.ensure_running();"
        "multiprocessing.Value('i', 0)"
    )


METHODS = ("zygote", "forkserver", "spawn", "fork")


@pytest.mark.parametrize("method", METHODS)
def test_objects_of_managers_work(kernel: Kernel, method: str) -> None:
    kernel.run(
        "import multiprocessing\nmanager = multiprocessing.Manager()\n"
        "table, items, lock = manager.dict(), manager.Queue(), manager.Lock()\ntable['inner'] = manager.list()"
    ).ok()
    try:
        kernel.run(
            f"%%multiproc 2 --start-method {method}\n"
            "with lock: table[rank] = 'here'\n"
            "items.put(rank)\ntable['inner'].append(rank)"
        ).ok()
        assert kernel.value("(table[0], table[1], sorted(table['inner']), sorted([items.get(), items.get()]))") == (
            "here",
            "here",
            [0, 1],
            [0, 1],
        )
    finally:
        kernel.run("manager.shutdown()").ok()


def test_a_manager_with_a_key_of_its_own(kernel: Kernel) -> None:
    kernel.run(
        "from multiprocessing.managers import SyncManager\n"
        "manager = SyncManager(authkey=b'secret'); manager.start()\ntable = manager.dict()"
    ).ok()
    kernel.run("%%multiproc 2\ntable[rank] = rank").ok()
    assert kernel.value("dict(table)") == {0: 0, 1: 1}
    kernel.run("manager.shutdown()").ok()


PIPE = "is an end of a pipe, known by the number of a descriptor, which is something else in another process"
OF_A_MANAGER = "Send one of a manager instead, such as multiprocessing.Manager().Queue()"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("multiprocessing.Pipe()[0]", PIPE),
        ("[multiprocessing.Pipe()]", f"x[0][0] is a multiprocessing.connection.Connection (it {PIPE})"),
        ("multiprocessing.Queue()", OF_A_MANAGER),
        ("multiprocessing.SimpleQueue()", OF_A_MANAGER),
        ("multiprocessing.Lock()", OF_A_MANAGER),
        ("multiprocessing.Value('i', 0)", OF_A_MANAGER),
        ("multiprocessing.Barrier(2)", OF_A_MANAGER),
        ("select.epoll()", "cannot pickle 'select.epoll' object"),
        ("selectors.SelectSelector()", "it watches descriptors by their numbers"),
        ("selectors.DefaultSelector()", "cannot pickle 'select.epoll' object"),
        ("socket.socket()", "cannot pickle 'socket' object"),
        ("open(os.devnull)", "'/dev/null'"),
        ("mmap.mmap(-1, 8)", "cannot pickle 'mmap.mmap' object"),
    ],
)
def test_descriptors_are_refused_by_name(kernel: Kernel, made: str, words: str) -> None:
    kernel.run(f"import mmap, multiprocessing, os, select, selectors, socket\nx = {made}").ok()
    reply = kernel.run("%%multiproc 2\nprint('ran')\nx")
    assert reply.ename == "CaptureError"
    assert "line 3 uses 'x', which cannot be sent to the ranks: " in reply.evalue
    assert words in reply.evalue
    assert "ran" not in reply.stdout
    kernel.quietly("x = None")


def test_an_end_of_a_pipe_does_not_come_back_as_a_number(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\nimport multiprocessing\nmultiprocessing.Pipe()[0]")
    assert PIPE in reply.traceback


def test_shared_memory_is_found_by_its_name_and_stays(kernel: Kernel) -> None:
    kernel.run(
        "from multiprocessing.shared_memory import SharedMemory\nmemory = SharedMemory(create=True, size=4)"
    ).ok()
    for method in METHODS:
        kernel.run(f"%%multiproc 2 --start-method {method}\nmemory.buf[rank] = 7\nmemory.name").ok()
        assert kernel.value("set(results.values()) == {memory.name}")
        assert kernel.value("bytes(memory.buf[:2])") == b"\7\7"
        kernel.run("memory.buf[:2] = bytes(2)\nagain = SharedMemory(memory.name); again.close()").ok()
    kernel.run("memory.close(); memory.unlink()").ok()


@pytest.mark.torch
def test_a_line_says_once_that_a_shared_tensor_is_copied(kernel: Kernel) -> None:
    pytest.importorskip("torch")
    kernel.run("import torch\nshared = torch.zeros(3).share_memory_()\nnet = torch.nn.Linear(2, 1).share_memory()").ok()
    said = []
    for _ in range(2):
        reply = kernel.run("%%multiproc 2\nshared.add_(1); net.weight.detach().add_(1);").ok()
        # the zygote may still be at torch
        said.append([line for line in reply.stderr.splitlines() if not line.startswith("getting ready")])
    assert said[1] == []
    assert [line.partition(":")[0] for line in said[0]] == [
        "'shared' is a tensor in shared memory, and every rank gets a copy of it",
        "'net' holds a tensor in shared memory, and every rank gets a copy of it",
    ]
    assert kernel.value("shared.tolist()") == [0.0, 0.0, 0.0]
    kernel.run("own = torch.zeros(3)").ok()
    assert kernel.run("%%multiproc 2\nown.add_(1);").ok().stderr == ""


def test_a_line_says_that_an_array_in_shared_memory_is_copied(kernel: Kernel) -> None:
    kernel.run(
        "import mmap, multiprocessing, numpy\n"
        "from multiprocessing.shared_memory import SharedMemory\n"
        "piece = SharedMemory(create=True, size=4096)\n"
        "on_piece = numpy.ndarray((512,), buffer=piece.buf)\n"
        "on_raw = {'a': numpy.frombuffer(multiprocessing.RawArray('d', 4))[1:]}\n"
        "on_array = numpy.ctypeslib.as_array(multiprocessing.Array('d', 4).get_obj())\n"
        "on_map = numpy.frombuffer(mmap.mmap(-1, 80))\n"
        "file = numpy.memmap('of a file', float, 'w+', shape=8)\n"
        "of_file, read_only, own = numpy.asarray(file)[2:], on_piece.view(), numpy.zeros(9)[3:]\n"
        "read_only.flags.writeable = False"
    ).ok()
    try:
        for method in ("zygote", "spawn"):
            cell = f"%%multiproc 2 --start-method {method}\n(on_piece, on_raw, on_array, on_map)[0].sum();"
            told = [line.partition(":")[0] for line in kernel.run(cell).ok().stderr.splitlines()]
            assert told == (
                [
                    "'on_piece' is an array in shared memory, and every rank gets a copy of it",
                    "'on_raw' holds an array in shared memory, and every rank gets a copy of it",
                    "'on_array' is an array in shared memory, and every rank gets a copy of it",
                    "'on_map' is an array in shared memory, and every rank gets a copy of it",
                ]
                if method == "zygote"
                else []
            )
        assert kernel.run("%%multiproc 2\n(of_file, file, own)[0].sum();").ok().stderr == ""
        assert kernel.run("%%multiproc 2\nread_only.sum();").ok().stderr == ""
        # what the line advises
        kernel.run("%%multiproc 2\nnumpy.ndarray((512,), buffer=piece.buf)[rank] = 1 + rank").ok()
        assert kernel.value("on_piece[:2].tolist()") == [1.0, 2.0]
    finally:
        kernel.run("del on_piece, read_only; piece.close(); piece.unlink()").ok()
