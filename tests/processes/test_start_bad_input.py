"""Bad input is told in one clear sentence before anything starts."""

from __future__ import annotations

import errno
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from nblaunch.processes import DefaultLogsSpecs, MultiprocessContext, Std
from nblaunch.processes.gang.gang import Gang
from tests.processes import targets
from tests.processes.conftest import Launch

ONE: dict[int, Any] = {0: (1,)}


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(gang: Gang) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(Gang, "start", refuse)


@pytest.mark.parametrize(
    ("args", "envs", "message"),
    [
        ({0: (), 2: ()}, {0: {}, 1: {}}, "args, local rank mapping mismatch.*missing: 1; superfluous: 2"),
        ({0: (), 1: ()}, {0: {}}, "envs, local rank mapping mismatch.*missing: 1"),
        ({0: ()}, {0: {}, 1: {}}, "envs, local rank mapping mismatch.*superfluous: 1"),
    ],
)
@pytest.mark.parametrize("entrypoint", [targets.value, "true"])
def test_missing_ranks(
    launch: Launch, entrypoint: Any, args: dict[int, Any], envs: dict[int, dict[str, str]], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        launch(entrypoint, args, envs=envs)


@pytest.mark.parametrize("arguments", ["foo", b"foo", 5, None])
@pytest.mark.parametrize("entrypoint", [targets.value, "true"])
def test_arguments_that_are_no_tuple(launch: Launch, entrypoint: Any, arguments: Any) -> None:
    told = re.escape(f"args[0] is {arguments!r}: it must be a tuple of arguments, for example ({arguments!r},)")
    with pytest.raises(TypeError, match=told):
        launch(entrypoint, {0: arguments})


@pytest.mark.parametrize("env", [{"A": 1}, {1: "a"}, {"A": None}])
def test_environment_that_is_no_text(launch: Launch, env: dict[Any, Any]) -> None:
    with pytest.raises(TypeError, match=r"envs\[0\]\[.*\] is .*: names and values of environment variables are str"):
        launch(targets.value, ONE, envs={0: env})


@pytest.mark.parametrize("env", [{"": "a"}, {"A=B": "a"}, {"A": "a\0b"}, {"A\0": "a"}])
def test_environment_that_no_process_can_have(launch: Launch, env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"envs\[0\]\[.*\] is .*names of environment variables are not empty"):
        launch(targets.value, ONE, envs={0: env})


def test_unknown_start_method(launch: Launch) -> None:
    with pytest.raises(
        ValueError, match="unknown start_method 'spwan': choose one of 'zygote', 'forkserver', 'spawn', 'fork'"
    ):
        launch(targets.value, ONE, "spwan")


@pytest.mark.parametrize("entrypoint", [None, 5, b"true"])
def test_entrypoint_of_another_type(launch: Launch, entrypoint: Any) -> None:
    with pytest.raises(TypeError, match=r"entrypoint is a \w+: it must be a function, or the name of a program"):
        launch(entrypoint, ONE)


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", ""])
def test_program_that_is_not_there(launch: Launch, program: str) -> None:
    told = f"entrypoint '{program}' of rank 0 is not an executable file, nor found as one on PATH"
    with pytest.raises(FileNotFoundError, match=told) as raised:
        launch(program, ONE)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, program)


def test_program_that_may_not_be_run(launch: Launch, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    told = f"entrypoint '{program}' of rank 0 is a file that may not be executed; chmod"
    with pytest.raises(PermissionError, match=told):
        launch(str(program), ONE)
    told = "entrypoint 'program' of rank 0 is a file that may not be executed"
    with pytest.raises(PermissionError, match=told):
        launch("program", ONE, envs={0: {"PATH": f"/nowhere:{tmp_path}"}})


def test_program_that_is_a_folder(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="of rank 0 is a folder") as raised:
        launch(str(tmp_path), ONE)
    assert (raised.value.errno, raised.value.filename) == (errno.EACCES, str(tmp_path))
    # on the path it is passed over
    with pytest.raises(FileNotFoundError):
        launch(tmp_path.name, ONE, envs={0: {"PATH": str(tmp_path.parent)}})


def test_program_that_only_one_rank_finds(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="entrypoint 'true' of rank 1 is not"):
        launch("true", {0: (), 1: ()}, envs={0: {}, 1: {"PATH": str(tmp_path)}})


def test_numa_options_of_another_kind(launch: Launch) -> None:
    for entrypoint in (targets.value, "true"):
        with pytest.raises(TypeError, match="numa_options is 'node': it must be a NumaOptions of torch"):
            launch(entrypoint, ONE, numa_options="node")


def test_a_log_directory_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError, match="is a file; give a directory"):
        DefaultLogsSpecs(log_dir=str(file))


def test_an_unknown_stream(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4"):
        Std.from_str("4")
    with pytest.raises((TypeError, ValueError), match="redirects"):
        DefaultLogsSpecs(log_dir=str(tmp_path), redirects="1")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "zygote"])
def test_an_argument_that_cannot_be_pickled(launch: Launch, method: str) -> None:
    with pytest.raises(
        TypeError,
        match=r"args\[1\]\[1\], of type lock, cannot be pickled and so cannot be sent to a process: TypeError: .*lock.*"
        r"Create it inside the function, or use start_method='fork'",
    ):
        launch(targets.value, {0: (1, 2), 1: (1, threading.Lock())}, method)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "zygote"])
def test_an_entrypoint_that_cannot_be_pickled(launch: Launch, method: str) -> None:
    lock = threading.Lock()

    def locked() -> None:
        lock.acquire()

    with pytest.raises(TypeError, match=r"the entrypoint '.*locked' cannot be pickled"):
        launch(locked, {0: ()}, method)


def test_handlers_are_back_after_a_refusal(launch: Launch) -> None:
    import signal

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(TypeError):
        launch(targets.value, {0: (threading.Lock(),)}, "spawn")
    assert [signal.getsignal(number) for number in numbers] == before


def test_the_constructors_check_too(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(log_dir=str(tmp_path))
    with pytest.raises(RuntimeError, match="envs, local rank mapping mismatch"):
        MultiprocessContext("x", targets.value, {0: ()}, {}, "spawn", specs)
    with pytest.raises(ValueError, match="unknown start_method"):
        MultiprocessContext("x", targets.value, {0: ()}, {0: {}}, "", specs)


def test_importing_needs_neither_torch_nor_ipython() -> None:
    import subprocess

    script = (
        "import sys, nblaunch.processes.api, nblaunch.processes.errors, nblaunch.processes.tail_log; "
        "print([name for name in ('torch', 'IPython', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ)
    assert done.stdout == "[]\n", done.stderr
