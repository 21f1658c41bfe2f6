"""What the ranks of the tests run: functions that can be imported in any process, and ways to wait for them.

Events travel through files and named pipes, so that a test knows that something has happened instead of hoping so.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gzip
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing
from multiprocessing import util
from pathlib import Path
from typing import Any, NoReturn

METHODS = ("spawn", "fork", "forkserver", "zygote")
# Seconds after which a test gives up on something that happens at once when all is well.
LIMIT = 30.0


def value(number: object, *rest: object) -> object:
    return (number, *rest) if rest else number


def surroundings(names: list[str]) -> dict[str, Any]:
    return {
        "env": {name: os.environ.get(name) for name in names},
        "cwd": os.getcwd(),
        "path": list(sys.path),
        "argv": list(sys.argv),
        "stdin": sys.stdin.read(),
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "leads": os.getsid(0) == os.getpgrp() == os.getpid(),
        "handlers": {
            name: signal.getsignal(signal.Signals[name]) is default
            for name, default in [
                ("SIGINT", signal.default_int_handler),
                ("SIGTERM", signal.SIG_DFL),
                ("SIGHUP", signal.SIG_DFL),
                ("SIGQUIT", signal.SIG_DFL),
            ]
        },
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "main_thread": threading.current_thread() is threading.main_thread(),
    }


def hash_and_hour() -> tuple[int, str]:
    """Return what depends on variables that are read when a process begins."""
    return hash("x"), time.strftime("%H", time.localtime(0))


def speak(out: str, err: str) -> None:
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.stdout.flush()


def speak_in_every_way() -> None:
    libc = ctypes.CDLL(None)
    print("python")
    libc.printf(b"c\n")
    os.system("echo child")
    os.write(1, b"raw")


def leave(how: str) -> object:
    """End in the way that is asked for."""
    match how:
        case "raise":
            raise ValueError("boom")
        case "os._exit(0)":
            os._exit(0)
        case "os._exit(7)":
            os._exit(7)
        case "sys.exit()":
            sys.exit()
        case "sys.exit(0)":
            sys.exit(0)
        case "sys.exit(3)":
            sys.exit(3)
        case "sys.exit('text')":
            sys.exit("text")
        case "KeyboardInterrupt":
            raise KeyboardInterrupt
        case "GeneratorExit":
            raise GeneratorExit
        case "unpicklable value":
            return threading.Lock()
        case "value that refuses without words":
            return Wordless()
        case "unpicklable exception":
            raise UnpicklableError(threading.Lock())
        case "exception without text":
            raise WordlessError
        case "SIGSEGV":
            ctypes.string_at(0)
    if how.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[how])
    return how


class UnpicklableError(Exception):
    pass


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Wordless:
    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        raise WordlessError


class Unbuildable:
    """Pickles, and cannot be built again where it arrives."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return refuse_outside_of, (os.getpid(), self.error)


def refuse_outside_of(pid: int, error: Exception) -> Unbuildable:
    if os.getpid() != pid:
        raise error
    return Unbuildable(error)


def unbuildable(*, with_words: bool = True) -> Unbuildable:
    return Unbuildable(LookupError("only built at home") if with_words else WordlessError())


def unbuildable_without_words() -> Unbuildable:
    return unbuildable(with_words=False)


class Remote:
    """An instance of this class is the same to all."""

    def __init__(self, number: int) -> None:
        self.number = number


def remote(number: int) -> Remote:
    return Remote(number)


# ---- events between tests and ranks


def announce(path: str) -> None:
    """Tell whoever waits with `await_announcements`, with the process id; one write, so that lines stay whole."""
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    os.close(descriptor)


def block() -> NoReturn:
    while True:
        # not signal.pause(): Python notices a signal that comes just before that only when the next one comes
        time.sleep(0.1)


def announce_and_block(path: str) -> NoReturn:
    announce(path)
    block()


def wait_at(gate: str) -> None:
    """Block until the test opens the gate."""
    with open(gate) as file:
        fcntl.flock(file, fcntl.LOCK_SH)


def finish_or_block(rank: int, started: str, gate: str) -> int:
    """Rank 0 finishes at once, the others wait for the test."""
    if rank:
        announce(started)
        wait_at(gate)
    return rank


def ignore_sigterm(started: str) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    announce_and_block(started)


def stop_oneself(started: str) -> None:
    announce(started)
    os.kill(os.getpid(), signal.SIGSTOP)


def fail_when_told(rank: int, started: str, gate: str) -> None:
    announce(started)
    wait_at(gate)
    raise ValueError(f"boom {rank}")


def first_fails_second_waits(rank: int, mark: str, how: str) -> object:
    """Rank 1 tells that it runs through a pipe that rank 0 reads; rank 0 then fails."""
    if rank == 1:
        announce_and_block(mark)
    with open(mark) as pipe:
        pipe.read()
    return leave(how)


def fail_in_a_row(tell: str, await_: str) -> None:
    """Wait until another rank's pipe tells that it fails, then fail and tell the next one."""
    if await_:
        with open(await_) as pipe:
            pipe.read()
    try:
        raise ValueError("boom")
    finally:
        if tell:
            # when this process is gone, and therefore later than its failure was told
            os.open(tell, os.O_WRONLY)


def linger_after_value(rank: int, mark: str) -> str:
    """Rank 1 returns, and its process stays on; rank 0 then fails."""
    if rank == 1:
        atexit.register(announce_and_block, mark)
        return "done"
    with open(mark) as pipe:
        pipe.read()
    raise ValueError("boom")


# ---- families


def family(started: str, own_session: bool, then: str, gate: str = "") -> object:
    """Start a child that never ends by itself, and leave in the way that is asked for, once somebody opens the gate."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=own_session) as child:
        descriptor = os.open(started, os.O_WRONLY)
        os.write(descriptor, f"{os.getpid()} {child.pid}\n".encode())
        os.close(descriptor)
        if then == "block":
            block()
        if gate:
            # a FIFO, which is open when somebody has it open for writing
            os.close(os.open(gate, os.O_RDONLY))
        child.returncode = 0  # nobody is to wait for it
    return leave(then)


def double_forked(started: str) -> None:
    """Leave a daemon behind: its parent is gone and its session its own."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon:
            os._exit(0)
        announce(started)
        os.write(writer, b"!")
        block()
    os.read(reader, 1)
    os.wait()


def nested(method: str, log_dir: str) -> object:
    """Launch from a rank."""
    from nblaunch.processes import DefaultLogsSpecs, start_processes

    context = start_processes(
        "inner", value, {0: (1,), 1: (2,)}, {0: {}, 1: {}}, DefaultLogsSpecs(log_dir=log_dir), start_method=method
    )
    result = context.wait()
    assert result is not None
    return result.return_values


# ---- what a process does at its end


def write_at_exit(path: str) -> None:
    atexit.register(Path(path).write_text, "atexit")
    threading.Thread(target=Path(path + ".thread").write_text, args=("thread",)).start()


def finalize_at_exit(path: str) -> None:
    util.Finalize(None, Path(path).write_text, args=("finalized",), exitpriority=1)


def leave_files_open(folder: str) -> None:
    """Write to files that nobody closes, and let the interpreter's modules keep them."""
    text = open(f"{folder}/text", "w")
    text.write("text")
    raw = open(f"{folder}/bytes", "wb", buffering=1 << 16)
    raw.write(b"bytes")
    packed = gzip.open(f"{folder}/packed", "wt")
    packed.write("packed")
    sys.modules["left_open"] = (text, raw, packed)  # type: ignore[assignment]


def leave_temporary_files_open(folder: str) -> list[str]:
    """Let the interpreter's modules keep temporary files, and return where they are."""
    file = tempfile.NamedTemporaryFile(dir=folder)
    text = tempfile.NamedTemporaryFile("w", dir=folder)
    text.write("text")
    kept = tempfile.NamedTemporaryFile("w", dir=folder, prefix="kept", delete=False)
    kept.write("kept")
    sys.modules["left_open"] = (file, text, kept)  # type: ignore[assignment]
    return sorted(os.listdir(folder))


def leave_with_a_strange_object(path: str) -> None:
    """Leave a file open while there is an object whose class cannot be asked whether it is a stream."""

    class Meta(type):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(cls, other: object) -> bool:
            return cls is other

    text = open(path, "w")
    text.write("text")
    kept: list[Any] = [text, Meta("Strange", (), {})()]
    sys.modules["left_open"] = kept  # type: ignore[assignment]


def write_for_ever_in_a_daemon(path: str) -> None:
    """Have a daemon thread write to a pipe that nobody reads."""
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "wb", buffering=1 << 20)

    def write() -> None:
        Path(path).touch()
        stream.write(bytes(1 << 24))

    threading.Thread(target=write, daemon=True).start()
    while not os.path.exists(path) or not select.select([reader], [], [], 0)[0]:
        time.sleep(0.01)
    sys.modules["left_open"] = [reader, stream]  # type: ignore[assignment]


def children_of_multiprocessing() -> int:
    return len(multiprocessing.active_children())


def write_to_sockets(garbage: bytes) -> None:
    """Write to every socket that this process has, as a broken library might."""
    import socket

    for entry in os.listdir("/proc/self/fd"):
        try:
            connection = socket.socket(fileno=os.dup(int(entry)))
        except OSError:
            continue
        with connection:
            connection.sendall(garbage)


def send_garbage(garbage: bytes) -> None:
    """Do so, and wait for what comes of it."""
    write_to_sockets(garbage)
    block()


# ---- for the tests


def open_descriptors() -> list[str]:
    """Return the descriptors of this process, when no thread removes folders of logs any more."""
    for thread in threading.enumerate():
        if thread.name == "nblaunch-logs":
            thread.join(LIMIT)
    return sorted(os.listdir("/proc/self/fd"))


class Announcements:
    """A named pipe through which ranks tell that they have come to some point."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        # both ways, so that neither end's opening waits and reading never sees an end of file
        self._descriptor = os.open(path, os.O_RDWR)
        self._buffer = b""

    def next_line(self) -> str:
        """Return the next line; fail after `LIMIT` seconds."""
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self._descriptor], [], [], LIMIT)
            assert readable, f"nothing was announced within {LIMIT} s"
            self._buffer += os.read(self._descriptor, 4096)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def pids(self, lines: int) -> list[int]:
        """Return the process ids of that many announcements."""
        return [int(pid) for _ in range(lines) for pid in self.next_line().split()]

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._descriptor)


class Gate:
    """What ranks wait at with `wait_at`."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._file = path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def open(self) -> None:
        """Let the ranks pass. Forked ones hold the same lock, so closing the file would not do."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Open the gate and close the file."""
        self.open()
        self._file.close()


def assert_gone(pids: list[int]) -> None:
    """Wait for the end of processes that are on their way out; fail after `LIMIT` seconds."""
    deadline = time.monotonic() + LIMIT
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            left = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([pidfd], [], [], left)
            if not readable:
                with open(f"/proc/{pid}/cmdline") as file:
                    line = file.read()
                os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"process {pid} still runs: {line!r}")
        finally:
            os.close(pidfd)


# ---- how a rank ends after it has failed


def fail(how: str) -> NoReturn:
    """Fail by itself: by an exception, or by ``sys.exit`` with a number."""
    if how.isdigit():
        sys.exit(int(how))
    raise ValueError(how)


def fail_and_end_at(how: str, keeper: str, gate: str, last_words: str) -> NoReturn:
    """Fail, and keep the process at the gate, in an atexit function or a thread, which then writes a file."""

    def end() -> None:
        wait_at(gate)
        Path(last_words).write_text("said")

    if keeper == "atexit":
        atexit.register(end)
    else:
        threading.Thread(target=end).start()
    fail(how)


def fail_and_never_end(how: str) -> NoReturn:
    atexit.register(block)
    fail(how)


def first_fails_and_ends_at(
    rank: int, how: str, keeper: str, beginning: str, gate: str, last_words: str, started: str
) -> None:
    """Fail in rank 0 when the first gate is open, and end when the second one is; wait in the others."""
    if rank:
        announce_and_block(started)
    wait_at(beginning)
    fail_and_end_at(how, keeper, gate, last_words)


# ---- what pickles itself by a name


class OnlyOne:
    """Pickles as a name without a module, as ``torch.float32`` does."""

    def __reduce__(self) -> str:
        return "ONLY_ONE"


ONLY_ONE = OnlyOne()
ANY_ONE = typing.TypeVar("ANY_ONE")


@functools.lru_cache
def cached(number: int) -> int:
    return number


# ---- as children of multiprocessing


def as_multiprocessing_sees_it() -> dict[str, Any]:
    parent = multiprocessing.parent_process()
    assert parent is not None
    return {
        "name": multiprocessing.current_process().name,
        "parent": (parent.name, parent.pid, parent.is_alive()),
        "start method": multiprocessing.get_start_method(),
        "authkey": bytes(multiprocessing.current_process().authkey),
        "children": len(multiprocessing.active_children()),
        "child's name": multiprocessing.Process().name,
    }


def use_shared_objects(
    rank: int, queue: Any, simple: Any, number: Any, numbers: Any, lock: Any, event: Any, barrier: Any, semaphore: Any
) -> None:
    with lock, semaphore:
        number.value += 1
    numbers[rank] = rank + 1
    queue.put(rank)
    simple.put(rank)
    barrier.wait(LIMIT)
    if rank:
        event.set()
    else:
        assert event.wait(LIMIT)


def note_in(rank: int, table: Any, things: Any) -> None:
    table[rank] = f"rank {rank}"
    things.append(rank)


def answer(connection: Any) -> None:
    connection.send(f"answer to {connection.recv()}")


def read_to_the_end(reader: Any, writer: Any) -> list[Any]:
    if writer is not None:
        writer.send("written")
        return []
    found = []
    with contextlib.suppress(EOFError):
        while True:
            found.append(reader.recv())
    return found


def say_hello_to(peer: Any) -> None:
    peer.sendall(b"hello")


def write_into(memory: Any) -> None:
    memory.buf[:2] = b"ok"
    memory.close()


def read_all(readers: list[Any]) -> list[Any]:
    return [reader.recv() for reader in readers]


def add_one(rank: int, thing: Any) -> None:
    import torch

    with torch.no_grad():
        (thing.weight if isinstance(thing, torch.nn.Module) else thing).add_(1)


def sum_of_firsts(tensors: list[Any]) -> int:
    return sum(int(tensor[0]) for tensor in tensors)


def parallel_computation(results: Any = None) -> float:
    import torch

    torch.set_num_threads(2)
    value = float((torch.ones(200, 200) @ torch.ones(200, 200))[0, 0])
    if results is not None:
        results.put(value)
    return value


def compute_here_and_in_a_child() -> tuple[float, float]:
    here = parallel_computation()
    results: Any = multiprocessing.SimpleQueue()
    child = multiprocessing.Process(target=parallel_computation, args=(results,))
    child.start()
    there = results.get()
    child.join()
    return here, there


# ---- what helpers of multiprocessing and torch remove


def leave_in_shared_memory(what: str, how: str, names: str) -> None:
    """Make something in ``/dev/shm``, write its names into a file, and end without removing it."""
    before = set(os.listdir("/dev/shm"))
    made: Any
    match what:
        case "semaphores":
            made = multiprocessing.get_context("spawn").Queue()
        case "memory":
            from multiprocessing.shared_memory import SharedMemory

            made = SharedMemory(create=True, size=1 << 20)
        case "joblib":
            import joblib
            import numpy as np

            made = joblib.Parallel(2)(joblib.delayed(np.sum)(np.ones(300_000)) for _ in range(2))
        case "torch":
            import torch

            torch.multiprocessing.set_sharing_strategy("file_system")
            made = torch.zeros(1 << 20).share_memory_()
    sys.modules["left_open"] = made
    Path(names).write_text("\n".join(set(os.listdir("/dev/shm")) - before))
    leave(how)


def keep_of_parent(memory: Any) -> str:
    """Find shared memory by its name, as a program does that was told of it."""
    from multiprocessing.shared_memory import SharedMemory

    for name in (memory.name, memory.name):
        SharedMemory(name).close()
    return str(memory.name)


def remove_of_parent(memory: Any) -> None:
    memory.close()
    memory.unlink()


# ---- as torch's programs do


def fail_beside(rank: int, started: str) -> None:
    """Fail as soon as the other rank is at work."""
    if rank:
        with open(started + ".rank", "w"):
            block()
    while not os.path.exists(started + ".rank"):
        time.sleep(0.01)
    raise ValueError("boom")


def ignores_hangup() -> bool:
    return signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
