"""What the tests of running processes share."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from nblaunch.processes import DefaultLogsSpecs, PContext, Std, start_processes
from nblaunch.processes.starting.zygotes import ZYGOTES
from tests.processes.targets import METHODS, Announcements, Gate


@pytest.fixture(autouse=True)
def _importable_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ranks, which get this process's `sys.path`, import `tests.processes.targets`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@pytest.fixture
def start() -> Iterator[Callable[[str], int]]:
    """Start Python programs that print that they are ready, each in a session of its own; they go with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process.pid

    yield run
    for process in started:
        # one that has ended and was not waited for still has its group
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Each start method in turn."""
    chosen: str = request.param
    return chosen


class Launch(Protocol):
    """Starts ranks; whatever is left of them is ended with the test."""

    def __call__(
        self,
        entrypoint: Callable[..., Any] | str,
        args: dict[int, tuple[Any, ...]],
        method: str = "fork",
        envs: dict[int, dict[str, str]] | None = None,
        redirects: Std | dict[int, Std] = Std.ALL,
        tee: Std | dict[int, Std] = Std.NONE,
        local_ranks_filter: set[int] | None = None,
        **more: Any,
    ) -> PContext: ...


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start processes with their logs below the test's own directory."""
    with contextlib.ExitStack() as stack:

        def start(
            entrypoint: Callable[..., Any] | str,
            args: dict[int, tuple[Any, ...]],
            method: str = "fork",
            envs: dict[int, dict[str, str]] | None = None,
            redirects: Std | dict[int, Std] = Std.ALL,
            tee: Std | dict[int, Std] = Std.NONE,
            local_ranks_filter: set[int] | None = None,
            **more: Any,
        ) -> PContext:
            logs_specs = DefaultLogsSpecs(
                log_dir=str(tmp_path / "logs"), redirects=redirects, tee=tee, local_ranks_filter=local_ranks_filter
            )
            if envs is None:
                envs = {rank: {} for rank in args}
            context = start_processes("rank", entrypoint, args, envs, logs_specs, start_method=method, **more)
            stack.callback(context.close, timeout=1)
            return context

        yield start


@pytest.fixture
def announcements(tmp_path: Path) -> Iterator[Announcements]:
    """A pipe through which ranks tell the test that they run."""
    pipe = Announcements(tmp_path / "announcements")
    yield pipe
    pipe.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """What ranks wait at until the test opens it."""
    closed = Gate(tmp_path / "gate")
    yield closed
    closed.close()


class Packages:
    """Makes packages that lie where packages are installed, without installing anything."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()

    def write(self, name: str, source: str) -> str:
        """Write a package; return its name."""
        folder = self.place / name
        folder.mkdir()
        (folder / "__init__.py").write_text(source)
        return name

    def write_waiting(self, name: str, gate: Gate) -> str:
        """Write a package whose import waits at the gate."""
        source = f"import fcntl\nwith open({gate.path!r}) as gate:\n    fcntl.flock(gate, fcntl.LOCK_SH)"
        return self.write(name, source)

    def write_blocking(self, name: str, announcements: Announcements) -> str:
        """Write a package whose import never ends; it announces that it has begun."""
        # the extensions of IPython 7, which its shells put on the path, have a package `tests` too
        root = str(Path(__file__).parents[2])
        source = (
            f"import sys\nsys.path.insert(0, {root!r})\nfrom tests.processes import targets\n"
            f"targets.announce_and_block({announcements.path!r})"
        )
        return self.write(name, source)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    """A folder of packages on `sys.path`; a zygote imports one when the engine is told to preload it."""
    made = Packages(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(made.place))
    return made


@pytest.fixture
def no_failures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told of zygotes that failed, since the test began."""
    failures: list[str] = []
    monkeypatch.setattr(ZYGOTES, "failures", failures)
    return failures
