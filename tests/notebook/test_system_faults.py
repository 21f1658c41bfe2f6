"""Kernels that are restarted or killed while ranks start, and notebooks that forget everything: nothing is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

STARTS = (
    "import subprocess, threading\n"
    "subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
    "subprocess.Popen(['sleep', '1000'])\n"
)
WAITS = "threading.Event().wait()\n"


@pytest.fixture(scope="module", autouse=True)
def event_loop_of_jupyter_client() -> None:
    """Have it made before any test: it stays as long as the process."""
    ensure_event_loop()


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:
        process.kill()
    assert not alive


def test_a_notebook_that_forgets_everything_runs_on() -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        kernel.run("%%multiproc 2 --out run\nrank").ok()
        kernel.run("%reset -f").ok()
        kernel.run("%%multiproc 2\nrank").ok()
        assert kernel.value("(results, 'run' in globals())") == ({0: 0, 1: 1}, False)


def test_a_notebook_that_forgets_a_run_in_the_background() -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch\nimport nblaunch").ok()
        source = "import threading; print('ready', rank, flush=True); threading.Event().wait()"
        kernel.begin(f"run = nblaunch.launch({source!r}, 2, wait=False)").wait_for("ready 0", "ready 1")
        kernel.run("%reset -f").ok()
        # it goes on, as an asynchronous job does, and ends with the kernel
        kernel.run("%%multiproc 2\nrank").ok()
        assert kernel.value("results") == {0: 0, 1: 1}
        left = descendants(kernel.process.pid)
        assert len([process for process in left if not process.name().startswith("nblaunch-")]) >= 2
        kernel.begin("exit()").finish()
        kernel.process.wait(30)
        assert_gone(left)
        assert not list((kernel.place / "tmp").glob("nblaunch_*"))


@pytest.mark.parametrize("leaving", ["sys.exit()", "raise SystemExit(3)"])
def test_leaving_in_a_cell_leaves_the_kernel_usable(kernel: Kernel, leaving: str) -> None:
    kernel.run(
        "import nblaunch, sys, threading\n"
        "run = nblaunch.launch(\"import threading; print('ready', rank); threading.Event().wait()\", 2, wait=False)\n"
        f"{leaving}"
    )
    # the notebook goes on, and so does what runs in the background
    kernel.run("%%multiproc 2\nrank").ok()
    assert kernel.value("results") == {0: 0, 1: 1}
    assert kernel.value("run.status") == "running"
    kernel.run("run.kill()\nrun.wait()\ndel run").ok()


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[KernelManager]:
    """A kernel as Jupyter's servers hold it."""
    manager = KernelManager()
    manager.start_kernel(env=os.environ | {"NBLAUNCH_PANEL": "none", "TMPDIR": str(tmp_path)})
    yield manager
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


@pytest.mark.parametrize("now", [False, True], ids=["asked", "killed"])
def test_a_kernel_that_jupyter_restarts(managed: KernelManager, now: bool, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    client = managed.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute("%load_ext nblaunch")
        client.execute(f"%%multiproc 2\n{STARTS}with open({str(ready)!r}, 'w') as file: file.write('x')\n{WAITS}")
        told = b""
        # for writing too, so that it stays open between two ranks that write
        with open(os.open(ready, os.O_RDWR), "rb", buffering=0) as fifo:
            while len(told) < 2:
                told += fifo.read(100)
        left = descendants(managed.provisioner.process.pid)
        assert len([process for process in left if process.name() == "sleep"]) == 4
        managed.restart_kernel(now=now)
        assert_gone(left)
        client.wait_for_ready(timeout=60)
        client.execute("%load_ext nblaunch")
        reply = client.execute_interactive("%%multiproc 2\nrank", timeout=60, output_hook=lambda _: None)
        assert reply["content"]["status"] == "ok"
    finally:
        client.stop_channels()


# Where a kernel is killed: names of functions of the launch, in the order in which they are called.
MOMENTS = [
    "nblaunch.launching.session.Session.start",
    "nblaunch.engines.local_ranks.LocalRanks.start",
    "nblaunch.processes.gang.supervisor.Supervisor._start_all",
    "nblaunch.processes.gang.supervisor.Supervisor._start_one",
    "nblaunch.processes.gang.connections.Connections.receive",
    "nblaunch.runs.recorder.Recorder._conclude",
]


@pytest.mark.parametrize(
    ("moment", "method", "number"),
    [
        *((moment, "zygote", number) for moment in MOMENTS for number in (signal.SIGKILL, signal.SIGTERM)),
        *((moment, "spawn", signal.SIGKILL) for moment in MOMENTS if "_start" in moment),
    ],
)
def test_a_kernel_that_dies_at_any_step_of_a_launch(moment: str, method: str, number: signal.Signals) -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        kernel.run("%%multiproc 2\nrank").ok()
        module, owner, name = moment.rsplit(".", 2)
        kernel.run(
            f"import {module} as module, threading\n"
            f"working = module.{owner}.{name}\n"
            "calls = []\n"
            "def waits(*args):\n"
            f"    result = working(*args) if {name in ('_start_one', 'receive')} else None\n"
            "    calls.append(1)\n"
            f"    if len(calls) == {2 if name == '_start_one' else 1}:\n"
            "        print('at that step', flush=True)\n"
            "        threading.Event().wait()\n"
            "    return result\n"
            f"module.{owner}.{name} = waits"
        ).ok()
        cell = "import subprocess, threading\nsubprocess.Popen(['sleep', '1000'])\n" + (
            "rank" if name in ("receive", "_conclude") else "threading.Event().wait()"
        )
        kernel.begin(f"%%multiproc 2 --start-method {method}\n{cell}").wait_for("at that step")
        left = descendants(kernel.process.pid)
        kernel.process.send_signal(number)
        kernel.process.wait(30)
        assert_gone(left)
        assert not list(Path("/dev/shm").glob("*nblaunch*"))
