"""However a rank ends, its semaphores and shared memory are removed, and those of others are not."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from tests.processes import targets
from tests.processes.conftest import Launch
from tests.processes.targets import LIMIT
from tests.processes.test_start_processes import result_of


def assert_removed(names: list[str]) -> None:
    """Wait until helpers have removed files; torch's needs two seconds."""
    assert names
    deadline = time.monotonic() + LIMIT
    while left := set(names) & set(os.listdir("/dev/shm")):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("what", "how"),
    [
        *itertools.product(("semaphores", "memory"), ("value", "raise", "SIGKILL")),
        *itertools.product(("joblib", "torch"), ("value", "SIGKILL")),
    ],
)
def test_nothing_is_left_in_shared_memory(launch: Launch, method: str, tmp_path: Path, what: str, how: str) -> None:
    if what in ("joblib", "torch"):
        pytest.importorskip(what)
    names = tmp_path / "names"
    result = result_of(launch(targets.leave_in_shared_memory, {0: (what, how, str(names))}, method))
    assert result.is_failed() == (how != "value")
    assert_removed(names.read_text().split())


@pytest.fixture(scope="module")
def tracker() -> None:
    """Have the helpers of this process from the beginning: they stay until this process ends."""
    resource_tracker.ensure_running()
    with contextlib.suppress(ImportError):
        importlib.import_module("joblib.externals.loky.backend.resource_tracker").ensure_running()


@pytest.mark.parametrize(
    ("what", "how"), [*itertools.product(("semaphores", "memory", "joblib"), ("value", "SIGKILL"))]
)
def test_nothing_is_left_where_this_process_has_a_helper_of_its_own(
    tracker: None, launch: Launch, method: str, tmp_path: Path, what: str, how: str
) -> None:
    if what == "joblib":
        pytest.importorskip("joblib")
    names = tmp_path / "names"
    result = result_of(launch(targets.leave_in_shared_memory, {0: (what, how, str(names))}, method))
    assert result.is_failed() == (how != "value")
    assert_removed(names.read_text().split())


@pytest.fixture
def memory(tracker: None) -> SharedMemory:
    return SharedMemory(create=True, size=8)


def test_memory_of_the_parent_stays(launch: Launch, method: str, memory: SharedMemory) -> None:
    result = result_of(launch(targets.keep_of_parent, {0: (memory,), 1: (memory,)}, method))
    assert result.return_values == {0: memory.name, 1: memory.name}
    SharedMemory(memory.name).close()
    memory.close()
    memory.unlink()


def test_a_rank_may_remove_memory_of_the_parent(launch: Launch, method: str, memory: SharedMemory) -> None:
    context = launch(targets.remove_of_parent, {0: (memory,)}, method)
    assert not result_of(context).is_failed()
    # no tracker has been told to forget what it did not know
    assert "Traceback" not in Path(context.stderrs[0]).read_text()
    with pytest.raises(FileNotFoundError):
        SharedMemory(memory.name)
    memory.close()
    resource_tracker.unregister(f"/{memory.name}", "shared_memory")


@pytest.mark.parametrize("method", ["fork"])
def test_a_forked_rank_may_remove_what_it_has_of_its_parent(launch: Launch, method: str, memory: SharedMemory) -> None:
    context = launch(lambda: targets.remove_of_parent(memory), {0: ()}, method)
    assert not result_of(context).is_failed()
    assert "Traceback" not in Path(context.stderrs[0]).read_text()
    with pytest.raises(FileNotFoundError):
        SharedMemory(memory.name)
    memory.close()
    resource_tracker.unregister(f"/{memory.name}", "shared_memory")
