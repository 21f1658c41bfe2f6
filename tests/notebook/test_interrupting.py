"""Interrupts, and the kernel's own death: what was started ends, and the notebook goes on."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import psutil
import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

SLEEP = "import threading\nprint('ready', rank)\nthreading.Event().wait()\n"
STUBBORN = (
    "import os, signal, time\n"
    "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
    "print('ready', rank, os.getpid())\n"
    "while True: time.sleep(1)\n"
)


def descendants(kernel: Kernel) -> list[psutil.Process]:
    # without zygotes and spares, which stay on purpose
    return [
        process
        for process in psutil.Process(kernel.process.pid).children(recursive=True)
        if not process.name().startswith("nblaunch-")
    ]


def test_an_interrupt_ends_the_ranks_and_the_notebook_goes_on(kernel: Kernel) -> None:
    cell = kernel.begin(
        "%%multiproc 3\nimport os, threading\nprint('ready', rank, os.getpid())\n"
        "if rank < 2:\n    threading.Event().wait()\n'done'"
    )
    cell.wait_for("ready 0", "ready 1", "ready 2")
    # its value has been sent when it is gone
    pid = int(cell.streams["stdout"].partition("ready 2 ")[2].split()[0])
    kernel.pump(lambda: not psutil.pid_exists(pid), "the end of rank 2")
    kernel.interrupt()
    reply = cell.finish()
    assert (reply.status, reply.ename) == ("error", "KeyboardInterrupt")
    assert "nblaunch" not in reply.traceback, "the insides of the launcher say nothing about the cell"
    assert not descendants(kernel)
    assert kernel.value("(results, {r: type(f.exception).__name__ for r, f in failures.items()})") == (
        {2: "done"},
        {0: "KeyboardInterrupt", 1: "KeyboardInterrupt"},
    )
    assert kernel.value("[f.collateral for f in failures.values()]") == [True, True]
    assert kernel.run("1 + 1").ok().value == "2"
    kernel.run("%%multiproc 2\nrank").ok()
    assert kernel.value("results") == {0: 0, 1: 1}


def test_an_interrupted_run_is_bound_by_its_name(kernel: Kernel) -> None:
    cell = kernel.begin(f"%%multiproc 2 --out run\n{SLEEP}").wait_for("ready 0", "ready 1")
    kernel.interrupt()
    assert cell.finish().ename == "KeyboardInterrupt"
    assert kernel.value("(run.status, run.ok, sorted(run.failures), 'results' in globals())") == (
        "interrupted",
        False,
        [0, 1],
        False,
    )
    assert kernel.value("run.logs[1].stdout") == "ready 1\n"


def test_ranks_may_tidy_up_when_interrupted(kernel: Kernel) -> None:
    cell = kernel.begin(
        "%%multiproc 2\nimport threading\n"
        "try:\n    print('ready', rank)\n    threading.Event().wait()\n"
        "except KeyboardInterrupt:\n    print('tidied', rank)\n    value = 'saved'\n"
        "value"
    ).wait_for("ready 0", "ready 1")
    kernel.interrupt()
    reply = cell.finish()
    assert reply.ename == "KeyboardInterrupt"
    assert sorted(reply.stdout.splitlines()) == ["[0] ready 0", "[0] tidied 0", "[1] ready 1", "[1] tidied 1"]
    assert kernel.value("(results, failures)") == ({0: "saved", 1: "saved"}, {})


def test_a_second_interrupt_kills_at_once(kernel: Kernel) -> None:
    # longer than any test may take
    cell = kernel.begin(f"%%multiproc 2 --grace 600 --out run\n{STUBBORN}").wait_for("ready 0", "ready 1")
    pids = [int(line.split()[-1]) for line in cell.streams["stdout"].splitlines()]
    kernel.interrupt()
    # the kernel has taken the first when the ranks have it pending or ignored: its supervisor marks them as ended
    for _ in range(200):
        if not all(psutil.pid_exists(pid) for pid in pids):
            break
        kernel.interrupt()
        if cell.reply is not None:
            break
        kernel._receive(50)
    reply = cell.finish()
    assert reply.ename == "KeyboardInterrupt"
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert kernel.value("[(f.signal_name(), f.collateral) for f in run.failures.values()]") == [("SIGKILL", True)] * 2
    kernel.run("%%multiproc 1\n1").ok()


def test_one_interrupt_escalates_to_ranks_that_ignore_it(kernel: Kernel) -> None:
    cell = kernel.begin(f"%%multiproc 2 --grace 0.1 --out run\n{STUBBORN}").wait_for("ready 0", "ready 1")
    kernel.interrupt()
    assert cell.finish().ename == "KeyboardInterrupt"
    assert kernel.value("[f.signal_name() for f in run.failures.values()]") == ["SIGKILL", "SIGKILL"]


def test_an_interrupt_reaches_children_of_ranks(kernel: Kernel) -> None:
    cell = kernel.begin(
        "%%multiproc 1 --grace 0.2\nimport subprocess\nsubprocess.run(['sh', '-c', 'echo ready; exec sleep 600'])"
    ).wait_for("ready")
    kernel.interrupt()
    assert cell.finish().ename == "KeyboardInterrupt"
    assert not descendants(kernel)


def test_an_interrupt_while_the_ranks_start(kernel: Kernel) -> None:
    # the first of many is there, and none has said anything
    cell = kernel.begin("%%multiproc 32 --start-method spawn\nimport time; time.sleep(600)")
    kernel.pump(lambda: bool(descendants(kernel)), "a rank")
    kernel.interrupt()
    reply = cell.finish()
    assert reply.ename == "KeyboardInterrupt"
    assert not descendants(kernel)
    kernel.run("%%multiproc 1\n1").ok()


def test_queued_cells_are_not_run_after_an_interrupt(kernel: Kernel) -> None:
    cell = kernel.begin(f"%%multiproc 1\n{SLEEP}")
    after = kernel.begin("reached = True")
    cell.wait_for("ready 0")
    kernel.interrupt()
    assert cell.finish().ename == "KeyboardInterrupt"
    assert after.finish().status == "aborted"


def test_signal_handlers_of_the_notebook_stay(kernel: Kernel) -> None:
    kernel.run("import signal\nbefore = [signal.getsignal(n) for n in (2, 15, 1, 3)]").ok()
    kernel.run("%%multiproc 2\n1").ok()
    assert kernel.value("before == [signal.getsignal(n) for n in (2, 15, 1, 3)]")


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_a_killed_kernel_leaves_no_process(method: str) -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        cell = kernel.begin(
            f"%%multiproc 2 --start-method {method}\n"
            "import os, subprocess, signal, time\n"
            "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n"
            "child = subprocess.Popen(['sleep', '600'])\n"
            "print('ready', rank, child.pid)\n"
            "while True: time.sleep(1)\n"
        ).wait_for("ready 0", "ready 1")
        left = descendants(kernel)
        assert len(left) >= 4, cell.streams
        watched = {os.pidfd_open(process.pid): process for process in left}
        try:
            kernel.process.kill()
            kernel.process.wait()
            deadline = time.monotonic() + 20
            while watched and time.monotonic() < deadline:
                for pidfd in select.select(list(watched), [], [], 1.0)[0]:
                    del watched[pidfd]
                    os.close(pidfd)
            assert not watched, f"left running: {list(watched.values())}"
        finally:
            for pidfd, process in watched.items():
                os.close(pidfd)
                process.kill()
        assert not list(Path("/dev/shm").glob("*nblaunch*"))


def test_an_orderly_shutdown_leaves_nothing() -> None:
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch\nimport nblaunch").ok()
        source = "import time; print('ready', rank, flush=True); time.sleep(600)"
        started = kernel.begin(f"run = nblaunch.launch({source!r}, 2, wait=False)")
        # until then a rank still has the name of what it was forked from
        started.wait_for("ready 0", "ready 1")
        left = descendants(kernel)
        assert len(left) >= 2
        logs = Path(kernel.value("run.logs.path"))
        kernel.begin("exit()").finish()
        kernel.process.wait(30)
        psutil.wait_procs(left, timeout=20)
        assert not [process for process in left if process.is_running()]
        assert not logs.exists()
