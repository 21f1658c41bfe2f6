"""What every test gets: a temporary directory that is watched, and a check that nothing is left behind."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import IPython.utils.io  # noqa: F401 - IPython 7 opens a file when it is imported, which then stays open
import psutil
import pytest
from hypothesis import HealthCheck, settings

from nblaunch.processes.starting import preloads
from nblaunch.processes.starting.zygotes import ZYGOTES
from tests import shared_memory

# Whoever starts the tests may ignore these, as nohup and a shell's background do. Then so would what the tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is tried at random is the same in every run, and how long it takes is no failure: other work may go on beside it.
settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked as in need of torch where there is none: not every Python has one."""
    if importlib.util.find_spec("torch") is not None:
        return
    for item in items:
        if "torch" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="there is no torch here"))


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Send temporary files to a place of our own, so that a stranger's are not taken for ours."""
    patch = pytest.MonkeyPatch()
    place = str(tmp_path_factory.mktemp("tmp"))
    patch.setenv("TMPDIR", place)
    patch.setattr(tempfile, "tempdir", place)
    # torch keeps a cache beside the temporary files, on purpose
    patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
    yield
    patch.undo()


class _Belongings:
    """What this process holds, and what it could leave behind."""

    def __init__(self) -> None:
        # a browser that several tests share comes and goes with its renderers and playwright's threads as it likes
        self.processes = {
            (process.pid, process.create_time()): process
            for process in psutil.Process().children(recursive=True)
            # and zygotes and spares of kernels and programs stay as long as these do
            if not _name(process).startswith(("chrom", "nblaunch-", "gone"))
        }
        self.descriptors = _descriptors()
        self.threads = {
            thread for thread in threading.enumerate() if thread.is_alive() and not thread.name.startswith("asyncio_")
        }
        self.shared_memory = shared_memory.present()
        self.temporary = set(os.listdir(tempfile.gettempdir()))

    def left_since(self, before: _Belongings) -> list[str]:
        return [
            *(f"process {process}" for key, process in self.processes.items() if key not in before.processes),
            *(f"descriptor {fd}: {self.descriptors[fd]}" for fd in self.descriptors.keys() - before.descriptors.keys()),
            *(f"thread {thread}" for thread in self.threads - before.threads),
            *(
                str(shared_memory.PLACE / name)
                for name in shared_memory.left_by_us(self.shared_memory - before.shared_memory)
            ),
            *(f"temporary {name}" for name in self.temporary - before.temporary),
        ]


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return "gone"  # since it was listed


def _descriptors() -> dict[int, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the one that lists the directory
    return found


@pytest.fixture(autouse=True)
def nothing_preloaded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep zygotes from importing what other tests of this process have imported; those about that ask for it."""
    if "preloads" not in request.keywords:
        monkeypatch.setattr(preloads, "SAFE", frozenset())


# Seconds in which what goes by itself must have gone.
_PATIENCE = 10.0


def _wait_for_removals() -> None:
    for thread in threading.enumerate():
        if thread.name == "nblaunch-logs":
            thread.join()


@pytest.fixture(autouse=True)
def nothing_left_behind(_own_temporary_directory: None) -> Iterator[None]:
    """Fail a test that leaves a process, descriptor, thread, shared memory or temporary file behind."""
    before = _Belongings()
    yield
    # zygotes and spares stay on purpose, as long as the process that uses them
    ZYGOTES.close()
    preloads.forget_learnt()
    _wait_for_removals()
    left = _Belongings().left_since(before)
    if left:
        # it may hang on garbage only; collecting after every test would take longer than most tests do
        gc.collect()
        _wait_for_removals()
        left = _Belongings().left_since(before)
    # Files may go a moment after the test, processes and threads may not: helpers of libraries remove what a process
    # has left when they see its end, and the logs of a run go with the last frame of a thread that knows it.
    deadline = time.monotonic() + _PATIENCE
    while left and not any(one.startswith(("process", "thread")) for one in left) and time.monotonic() < deadline:
        time.sleep(0.1)
        gc.collect()
        _wait_for_removals()
        left = _Belongings().left_since(before)
    assert not left, f"left behind: {left}"
