"""Names, messages and small habits of torch's package, for programs that know them."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nblaunch.processes
from nblaunch.processes import numa
from nblaunch.processes.elastic.loggers import get_logger
from nblaunch.processes.errors import JSON, GlobalRank
from nblaunch.processes.subprocess_handler import SubprocessHandler, get_subprocess_handler
from tests.processes import targets
from tests.processes.conftest import Launch
from tests.processes.targets import LIMIT, Announcements
from tests.processes.test_start_processes import result_of

ROOT = str(Path(__file__).parents[2])
MODULES = (
    "",
    ".api",
    ".errors",
    ".errors.error_handler",
    ".errors.handlers",
    ".redirects",
    ".tail_log",
    ".subprocess_handler",
    ".subprocess_handler.handlers",
    ".subprocess_handler.subprocess_handler",
)


@pytest.mark.torch
@pytest.mark.parametrize("module", MODULES)
def test_what_is_public_there_is_here(module: str) -> None:
    pytest.importorskip("torch.distributed")
    theirs = importlib.import_module(f"torch.distributed.elastic.multiprocessing{module}")
    ours = importlib.import_module(f"nblaunch.processes{module}")
    public = set(getattr(theirs, "__all__", ()))
    # and what they define, or take from one another
    public |= {
        name
        for name, value in vars(theirs).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "").startswith(("torch.distributed.elastic", "torch.numa"))
        and not isinstance(value, logging.Logger)
    }
    # what they import for themselves
    public -= {".errors": {"get_logger"}}.get(module, {"NumaOptions"} if module.startswith(".subprocess") else set())
    assert {name for name in public if not hasattr(ours, name)} == set()


def test_types_of_errors() -> None:
    assert dict[str, Any] == JSON
    assert GlobalRank is int


@pytest.mark.torch
def test_numa_options_are_torchs() -> None:
    binding = pytest.importorskip("torch.numa.binding")
    assert nblaunch.processes.NumaOptions is binding.NumaOptions
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = nblaunch.processes.nothing


def test_get_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGLEVEL", "info")
    assert get_logger().name == __name__
    named = get_logger("a.name")
    assert (named.name, named.level) == ("a.name", logging.INFO)
    monkeypatch.delenv("LOGLEVEL")
    assert get_logger("a.name").level == logging.WARNING
    monkeypatch.setenv("LOGLEVEL", "loud")
    with pytest.raises(ValueError, match="LOUD"):
        get_logger("a.name")


# ---- what is logged


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if "contexts" in record.name]


def test_a_failure_and_the_signals_after_it_are_logged(
    launch: Launch, method: str, announcements: Announcements, caplog: pytest.LogCaptureFixture
) -> None:
    context = launch(targets.fail_beside, {0: (0, announcements.path), 1: (1, announcements.path)}, method)
    pids = context.pids()
    assert result_of(context).is_failed()
    assert sorted(logged(caplog)) == [
        (
            "ERROR",
            f"local rank 0 (pid {pids[0]}) failed with exit code 1: the function fail_beside, started by {method}",
        ),
        ("WARNING", f"process {pids[1]} of local rank 1 is sent the closing signal SIGTERM"),
    ]


def test_the_same_of_programs(launch: Launch, caplog: pytest.LogCaptureFixture) -> None:
    script = "if [ $1 = 0 ]; then exit 7; fi; sleep 1000"
    context = launch("sh", {rank: ("-c", script, "sh", rank) for rank in range(2)})
    pids = context.pids()
    assert result_of(context).is_failed()
    assert sorted(logged(caplog)) == [
        ("ERROR", f"local rank 0 (pid {pids[0]}) failed with exit code 7: the program sh"),
        ("WARNING", f"process {pids[1]} of local rank 1 is sent the closing signal SIGTERM"),
    ]


def test_a_process_that_has_to_be_killed_is_logged(
    launch: Launch, announcements: Announcements, caplog: pytest.LogCaptureFixture
) -> None:
    context = launch(targets.ignore_sigterm, {0: (announcements.path,)})
    [pid] = announcements.pids(1)
    context.close(timeout=0)
    assert [line for line in logged(caplog) if line[0] == "WARNING"] == [
        ("WARNING", f"process {pid} of local rank 0 is sent the closing signal SIGTERM"),
        ("WARNING", f"process {pid} of local rank 0 did not end after SIGTERM and is ended by force: SIGKILL"),
    ]


def test_nothing_is_logged_of_success(launch: Launch, caplog: pytest.LogCaptureFixture) -> None:
    assert not result_of(launch(targets.value, {0: (1,)})).is_failed()
    assert logged(caplog) == []


# ---- an ignored SIGHUP


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver", "zygote", "program"])
def test_an_ignored_hangup_stays_ignored(method: str, tmp_path: Path) -> None:
    code = (
        "import signal\n"
        "from nblaunch.processes import DefaultLogsSpecs, start_processes\n"
        "from tests.processes.targets import ignores_hangup\n"
        "if __name__ == '__main__':\n"
        f"    program = {method == 'program'}\n"
        "    entrypoint = 'grep' if program else ignores_hangup\n"
        "    args = {0: ('SigIgn', '/proc/self/status') if program else ()}\n"
        f"    method = 'fork' if program else {method!r}\n"
        "    context = start_processes('x', entrypoint, args, {0: {}}, DefaultLogsSpecs('logs'), start_method=method)\n"
        "    print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, context.wait().return_values)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ROOT},
        timeout=LIMIT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    if method == "program":
        told, _, values = done.stdout.partition("\n")
        assert int(told.split()[1], 16) & 1
        assert values == "True {0: None}\n"
    else:
        assert done.stdout == "True {0: True}\n", done.stderr


# ---- one program by itself


def test_a_handler_runs_a_program(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = "echo $A $1; sleep 1000"
    handler = get_subprocess_handler("sh", ("-c", script, "sh", 5), {"A": "a"}, str(out), "", 3)
    assert isinstance(handler, SubprocessHandler)
    assert handler.local_rank_id == 3
    assert os.getsid(handler.proc.pid) == handler.proc.pid
    handler.close()
    assert handler.proc.wait(LIMIT) == -signal.SIGTERM
    assert out.read_text() in ("a 5\n", "")
    with pytest.raises(FileNotFoundError):
        SubprocessHandler("/no/such/program", (), {}, None, None, 0)


# ---- processors near a GPU


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Options of torch, on a machine where the processor that this process may use first is near GPU 0."""
    binding = pytest.importorskip("torch.numa.binding")
    near = {0: {min(os.sched_getaffinity(0))}, 1: set()}
    monkeypatch.setattr(binding, "_get_logical_cpus_to_bind_to", lambda gpu_index, numa_options: near[gpu_index])
    return binding.NumaOptions(affinity_mode=binding.AffinityMode.NODE)


@pytest.mark.torch
def test_functions_run_near_their_gpus(launch: Launch, options: Any) -> None:
    first = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    assert result_of(launch(os.sched_getaffinity, {0: (0,)}, "fork", numa_options=options)).return_values == {
        0: {first}
    }
    assert os.sched_getaffinity(0) == before


@pytest.mark.torch
@pytest.mark.parametrize("with_numactl", [False, True])
def test_programs_run_near_their_gpus(
    launch: Launch, options: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_numactl: bool
) -> None:
    first = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    if with_numactl:
        # notes how it was called, and goes on as numactl does
        stand_in = tmp_path / "numactl"
        stand_in.write_text(f'#!/bin/sh\necho $1 > {tmp_path}/called\nshift\nexec "$@"\n')
        stand_in.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    context = launch("sh", {0: ("-c", "grep Cpus_allowed_list /proc/self/status")}, numa_options=options)
    assert not result_of(context).is_failed()
    if with_numactl:
        assert (tmp_path / "called").read_text() == f"--physcpubind={first}\n"
    else:
        assert Path(context.stdouts[0]).read_text().split()[1] == str(first)
    assert os.sched_getaffinity(0) == before


@pytest.mark.torch
def test_what_cannot_be_bound(options: Any, caplog: pytest.LogCaptureFixture) -> None:
    from torch.numa.binding import AffinityMode, NumaOptions

    with pytest.raises(RuntimeError, match="no processors were found near the GPU of local rank 1"):
        numa.bound_command(("true",), 1, options)
    with pytest.raises(KeyError):
        numa.bind_this_process(7, options)
    numa.bind_this_process(1, NumaOptions(AffinityMode.NODE, should_fall_back_if_binding_fails=True))
    assert "local rank 1 runs on any processor, because those near its GPU cannot be found" in caplog.text
