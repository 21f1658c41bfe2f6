"""How many processes the kernel has killed for want of memory, as its files say it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from nblaunch.events import Exited
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.panel.state import RunState
from nblaunch.processes.gang import supervisor as gang_module
from nblaunch.processes.watching.memory import OutOfMemory
from nblaunch.runs.run import Run
from tests.panel.test_state import launched


class Machine:
    """Files as the kernel has them, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)

    def mount(self, *hierarchies: tuple[str, str, str], root: str = "/") -> None:
        """Mount hierarchies: type of the file system, options, and where below the folder."""
        lines = [
            "22 26 0:20 / /sys rw,nosuid - sysfs sysfs rw",
            *(
                f"{30 + i} 22 0:{30 + i} {root} {self.root}/{at} rw,nosuid shared:{i} - {kind} {kind} {options}"
                for i, (kind, options, at) in enumerate(hierarchies)
            ),
            "99 22 0:99 / /nothing rw -",
        ]
        (self.root / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")

    def live_in(self, *lines: str) -> None:
        (self.root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")

    def count(self, file: str, kills: int) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"low 0\nhigh 0\nmax 17\noom 5\noom_kill {kills}\noom_group_kill 0\n")

    def watch(self) -> OutOfMemory:
        return OutOfMemory(str(self.root / "proc"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.mount(("cgroup2", "rw,nsdelegate", "unified"))
    made.live_in("0::/user.slice/notebook")
    return made


def test_each_kill_is_evidence_once(machine: Machine) -> None:
    machine.count("unified/user.slice/notebook/memory.events", 3)
    watch = machine.watch()
    assert watch.evidence() == ""
    machine.count("unified/user.slice/notebook/memory.events", 5)
    assert watch.evidence() == "memory.events of its cgroup counts 2 kills more"
    assert watch.evidence() == "memory.events of its cgroup counts 2 kills more"
    assert watch.evidence() == ""
    assert machine.watch().evidence() == ""


def test_the_nearest_cgroup_that_counts_is_asked(machine: Machine) -> None:
    # the own one has no controller for memory
    (machine.root / "unified/user.slice/notebook").mkdir(parents=True)
    machine.count("unified/user.slice/memory.events", 0)
    machine.count("proc/vmstat", 0)
    watch = machine.watch()
    machine.count("proc/vmstat", 1)
    assert watch.evidence() == "", "it was killed in another cgroup"
    machine.count("unified/user.slice/memory.events", 1)
    assert watch.evidence() == "memory.events of its cgroup counts 1 kill more"


def test_the_first_version_of_cgroups(machine: Machine) -> None:
    machine.mount(("cgroup", "rw,cpu", "cpu"), ("cgroup", "rw,memory", "memory"), ("cgroup2", "rw", "unified"))
    machine.live_in("5:cpu:/", "4:memory:/a/b:c", "0::/")
    machine.count("memory/a/b:c/memory.oom_control", 1)
    watch = machine.watch()
    machine.count("memory/a/b:c/memory.oom_control", 2)
    assert watch.evidence() == "memory.oom_control of its cgroup counts 1 kill more"


@pytest.mark.parametrize(
    ("root", "path", "file"),
    [
        ("/docker/abc", "/docker/abc", "unified/memory.events"),
        ("/docker/abc", "/docker/abc/inner", "unified/inner/memory.events"),
        # outside of what is mounted
        ("/docker/abc", "/system", "unified/memory.events"),
        ("/", "/../../other", "unified/memory.events"),
        ("/", "/..strange", "unified/..strange/memory.events"),
    ],
)
def test_mounts_that_show_a_part_of_the_hierarchy(machine: Machine, root: str, path: str, file: str) -> None:
    machine.mount(("cgroup2", "rw", "unified"), root=root)
    machine.live_in(f"0::{path}")
    machine.count(file, 0)
    watch = machine.watch()
    machine.count(file, 1)
    assert watch.evidence()


def test_names_with_spaces(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "a place")
    machine.mount(("cgroup2", "rw", "unified"))
    info = machine.root / "proc/self/mountinfo"
    info.write_text(info.read_text().replace("a place", "a\\040place"))
    machine.live_in("0::/")
    machine.count("unified/memory.events", 0)
    watch = machine.watch()
    machine.count("unified/memory.events", 1)
    assert watch.evidence()


def test_without_cgroups_the_machine_is_asked(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.count("proc/vmstat", 7)
    watch = machine.watch()
    machine.count("proc/vmstat", 8)
    assert watch.evidence() == "/proc/vmstat counts 1 kill more"


def test_no_file_no_evidence(machine: Machine) -> None:
    assert machine.watch().evidence() == ""
    (machine.root / "proc/vmstat").write_text("nr_free_pages 1\noom_kill many\n")
    assert machine.watch().evidence() == ""
    machine.count("unified/user.slice/notebook/memory.events", 0)
    watch = machine.watch()
    (machine.root / "unified/user.slice/notebook/memory.events").unlink()
    assert watch.evidence() == ""


def test_a_counter_of_this_machine_is_found() -> None:
    assert OutOfMemory()._name


# ---- ranks


def run_cell(source: str, nprocs: int) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), quiet=True)


@pytest.fixture
def kills(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Have gangs count in a file of ours, which is yielded."""
    file = "unified/user.slice/notebook/memory.events"
    machine.count(file, 4)
    monkeypatch.setattr(gang_module, "OutOfMemory", machine.watch)
    yield str(machine.root / file)


KILLED = (
    "import os, pathlib, threading\n"
    "if rank == 1:\n"
    "    pathlib.Path({file!r}).write_text('oom_kill {count}')\n"
    "    os.kill(os.getpid(), 9)\n"
    "threading.Event().wait()\n"
)
REASON = (
    "the kernel ran out of memory meanwhile (memory.events of its cgroup counts 1 kill more). Use less memory per "
    "rank, or fewer ranks"
)


def test_a_killed_rank_says_that_memory_ran_out(kills: str) -> None:
    run = run_cell(KILLED.format(file=kills, count=5), 3)
    failure = run.root_cause
    assert failure is not None
    assert failure.message == f"rank 1 (pid {failure.pid}) was killed by SIGKILL: {REASON}"
    assert (failure.exitcode, failure.signal_name()) == (-9, "SIGKILL")
    assert "out of memory" not in str(run.failures[0].message)


def test_a_rank_that_was_killed_by_somebody_else_does_not(kills: str) -> None:
    run = run_cell(KILLED.format(file=kills, count=4), 2)
    assert run.failures[1].message == f"Signal 9 (SIGKILL) received by PID {run.pids[1]}"


def test_what_the_gang_kills_is_no_evidence(kills: str) -> None:
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + KILLED.format(file=kills, count=9)
    run = launch(stubborn, 2, notebook=Notebook({"__name__": "__main__"}), quiet=True, grace=0.1)
    assert "out of memory" in str(run.failures[1].message)
    assert run.failures[0].message == f"Signal 9 (SIGKILL) received by PID {run.pids[0]}"


def test_the_panel_says_it_too() -> None:
    state: RunState = launched(2)
    evidence = "memory.events of its cgroup counts 1 kill more"
    state.note(Exited(1, -signal.SIGKILL, None, False, 101.0, out_of_memory=evidence))
    assert (state.ranks[1].state, state.ranks[1].exit) == ("failed", "SIGKILL")
    assert state.ranks[1].why == f"SIGKILL: {REASON}"


# ---- the kernel itself


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A cgroup of version 2 that may use 512 MiB, removed afterwards."""
    mount = next(
        (
            Path(line.split()[4])
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if " - cgroup2 " in line
        ),
        None,
    )
    own = next((line[4:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::/")), "")
    if mount is None:
        pytest.skip("there is no cgroup of version 2")
    place = mount / own
    while not _hands_out_memory(place) and place != mount and mount in place.parents:
        place = place.parent
    if not _hands_out_memory(place) or not os.access(place / "cgroup.procs", os.W_OK):
        pytest.skip("no cgroup with a limit for memory may be made here")
    made = place / f"nblaunch-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup may be made here: {error}")
    try:
        (made / "memory.max").write_text(str(512 << 20))
        with contextlib.suppress(OSError):  # there is none without swap accounting
            (made / "memory.swap.max").write_text("0")
        yield made
    finally:
        made.rmdir()


def _hands_out_memory(place: Path) -> bool:
    with contextlib.suppress(OSError):
        return "memory" in (place / "cgroup.subtree_control").read_text().split()
    return False


def test_a_rank_that_takes_too_much_memory(small_cgroup: Path) -> None:
    program = f"""
        import os
        open({str(small_cgroup / "cgroup.procs")!r}, "w").write(str(os.getpid()))
        from nblaunch.launching.session import launch
        from nblaunch.launching.source import Notebook
        cell = "import threading\\nif rank: b'x' * (1 << 30)\\nthreading.Event().wait()"
        run = launch(cell, 2, notebook=Notebook({{"__name__": "__main__"}}), quiet=True, start_method="forkserver")
        print(run.root_cause.rank, run.root_cause.message)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=100)
    assert done.stdout.startswith("1 rank 1 (pid "), done.stderr
    assert "was killed by SIGKILL: the kernel ran out of memory meanwhile (memory.events of its cgroup" in done.stdout
