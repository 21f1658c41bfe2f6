"""A system that refuses: no more processes, no room on the disk; and a supervision that fails. Nothing is left then."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.processes.gang.connections import Connections
from nblaunch.processes.gang.watched_rank import WatchedRank
from nblaunch.runs.run import Run

ROOT = Path(__file__).parents[2]
BEGINNING = """
import gc, os, resource, sys, threading
os.environ["TMPDIR"] = os.environ["PLACE"]  # which setpriv has lost
import psutil
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.processes.starting.zygotes import ZYGOTES

def run_cell(source, nprocs=3, **options):
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), panel="none", **options)

def nothing_left():
    gc.collect()
    ZYGOTES.close()
    for thread in threading.enumerate():
        if thread.name == "nblaunch-logs":
            thread.join()
    assert not psutil.Process().children(recursive=True)
    assert threading.active_count() == 1, threading.enumerate()
"""


def program(source: str, *begin: str, tmp: Path) -> str:
    code = BEGINNING + textwrap.dedent(source)
    done = subprocess.run(
        [*begin, sys.executable, "-c", code],
        env=os.environ | {"PLACE": str(tmp), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The limit does not bind root, nor who has these capabilities. Who starts as root keeps the right to read the files of
# this installation.
AS_A_USER = ("setpriv", "--ruid=54321", "--bounding-set=-sys_resource,-sys_admin", "--inh-caps=-all")


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_no_more_processes_wherever_they_run_out(method: str, tmp_path: Path) -> None:
    as_a_user: tuple[str, ...] = ()
    if os.getuid() == 0:
        as_a_user = AS_A_USER
        try:
            subprocess.run([*as_a_user, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this root cannot become somebody to whom the limit applies")
    said = program(
        f"""
        def used():
            count = 0
            for process in psutil.process_iter():
                try:
                    count += process.num_threads() if process.uids().real == os.getuid() else 0
                except psutil.Error:
                    pass
            return count

        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        outcomes = []
        for more in range(2, 40):
            resource.setrlimit(resource.RLIMIT_NPROC, (max(used(), 3) + more - 2, hard))
            try:
                run = run_cell("rank", start_method={method!r})
            except OSError as error:
                outcomes.append("refused")
                assert "ulimit -u" in str(error), str(error)
                del error
            else:
                assert run.results == {{0: 0, 1: 1, 2: 2}}, run.failures
                outcomes.append("ran")
                del run
            resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
            nothing_left()
            if outcomes[-2:] == ["ran", "ran"]:
                break
        # IPython has folders of its own there where home is somebody else's
        print(outcomes[0], outcomes[-1], [name for name in os.listdir(os.environ["TMPDIR"]) if "nblaunch" in name])
        """,
        *as_a_user,
        tmp=tmp_path,
    )
    assert said == "refused ran []\n"


def no_more_threads(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the system refuse threads of this name."""
    working = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if self.name.startswith(name):
            raise RuntimeError("can't start new thread")
        working(self)

    monkeypatch.setattr(threading.Thread, "start", start)


REFUSED = (
    "[Errno 11] the system refused another thread: the limit of processes and threads is reached, of this user "
    "(ulimit -u) or of this container (pids.max): end other processes, or use fewer ranks"
)


@pytest.mark.parametrize("wait", [True, False])
def test_no_thread_for_the_supervision(monkeypatch: pytest.MonkeyPatch, wait: bool) -> None:
    no_more_threads(monkeypatch, "nblaunch-gang")
    with pytest.raises(BlockingIOError) as caught:
        run_cell("rank", 2, wait=wait)
    assert str(caught.value) == REFUSED
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "name", ["nblaunch-panel", "nblaunch-logs", "nblaunch-outputs", "nblaunch-sampler", "nblaunch-store"]
)
def test_threads_that_a_run_can_do_without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    no_more_threads(monkeypatch, name)
    assert launch("print(rank)\nrank", 2, notebook=Notebook({"__name__": "__main__"})).results == {0: 0, 1: 1}


def test_no_thread_for_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    # the first attempt's has been started by then
    working = threading.Thread.start
    started: list[threading.Thread] = []

    def start(self: threading.Thread) -> None:
        if self.name == "nblaunch-gang":
            if started:
                raise RuntimeError("can't start new thread")
            started.append(self)
        working(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    run = run_cell("1 / 0", 1, max_restarts=1)
    assert run.refused == f"restart 1 was not possible: {REFUSED}"


@pytest.fixture
def small_disk(tmp_path: Path) -> tuple[str, ...]:
    """What to begin a command with that shall find a file system of 1 MiB and 60 files at this test's folder."""
    begin = (
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'mount -t tmpfs -o size=1m,nr_inodes=60 tmpfs {tmp_path} && exec "$@"',
        "sh",
    )
    try:
        subprocess.run([*begin, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here")
    return begin


def test_a_full_disk_is_the_failure_of_the_ranks_that_write(small_disk: tuple[str, ...], tmp_path: Path) -> None:
    said = program(
        """
        run = run_cell("if rank == 1:\\n    while True:\\n        print('x' * 10_000)\\nrank", on_failure="continue")
        print(run.status, run.results, run.failures[1].summary().replace(run.logs.path, "LOGS"))
        print(type(run.failures[1].exception).__name__, run.failures[1].exception.args)
        del run
        nothing_left()
        print(run_cell("rank").results, os.listdir(os.environ["TMPDIR"]))
        """,
        *small_disk,
        tmp=tmp_path,
    )
    first, second, third = said.splitlines()
    assert first == (
        "failed {0: 0, 2: 2} OSError: [Errno 28] No space left on device: the disk with the logs of this run, LOGS, is "
        "full; make room there, or choose another disk with log_dir (--log-dir)"
    )
    assert second == "OSError (28, 'No space left on device')"
    assert third.startswith("{0: 0, 1: 1, 2: 2} ")


def test_logs_that_filled_the_disk_can_be_removed(small_disk: tuple[str, ...], tmp_path: Path) -> None:
    said = program(
        """
        from nblaunch.magic.commands import clear_logs
        full = run_cell("while True: print('x' * 10_000)", 1, max_log=0)
        folder = full.logs.root
        try:
            while True:
                run_cell("rank")
        except OSError as error:
            print(str(error).replace(folder, "FOLDER"))
            del error
        print(clear_logs().split(",")[0], os.path.exists(folder), repr(full.logs[0].stdout))
        run = run_cell("rank")
        print(run.results, clear_logs().split(",")[0], clear_logs())
        del full, run
        nothing_left()
        print([name for name in os.listdir(os.environ["TMPDIR"]) if "nblaunch" in name])
        """,
        *small_disk,
        tmp=tmp_path,
    )
    refusal, removed, *more = said.splitlines()
    assert refusal.startswith("[Errno 28] No space left on device: the logs of a run were to go to ")
    assert "; those of earlier runs take room there: FOLDER " in refusal
    assert "(%multiproc clear logs in their notebook removes them); make room there, or name a folder" in refusal
    # those that were run until there was no room for another one are too small to be named
    assert re.fullmatch(r"Removed the logs of \d+ runs? False ''", removed)
    assert more == [
        (
            "{0: 0, 1: 1, 2: 2} Removed the logs of 1 run "
            "No run that has ended has logs in the temporary folder. Those in a log_dir are yours to remove."
        ),
        "[]",
    ]


def test_no_room_for_the_logs(small_disk: tuple[str, ...], tmp_path: Path) -> None:
    said = program(
        """
        import nblaunch.logs.run_logs  # finds its folder while there is room
        import tempfile
        place = tempfile.gettempdir()
        count = 0
        try:
            while True:
                os.mkdir(f"{place}/{count}")
                count += 1
        except OSError:
            os.rmdir(f"{place}/{count - 1}")
        try:
            run_cell("rank")
        except OSError as error:
            print(type(error).__name__, error.errno, sorted(os.listdir(place)) == sorted(map(str, range(count - 1))))
            print(error)
            del error
        nothing_left()
        print(sorted(os.listdir(place)) == sorted(map(str, range(count - 1))))
        """,
        *small_disk,
        tmp=tmp_path,
    )
    first, text, last = said.splitlines()
    assert (first, last) == ("OSError 28 True", "True")
    assert text == (
        f"[Errno 28] No space left on device: the logs of a run were to go to {tmp_path}; make room there, or name a "
        "folder that can be written to with log_dir (--log-dir)"
    )


def test_a_temporary_folder_that_nobody_can_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/self")
    with pytest.raises(OSError) as caught:
        run_cell("rank", 2)
    assert str(caught.value) == (
        "[Errno 2] No such file or directory: the logs of a run were to go to /proc/self; name a folder that can be "
        "written to with log_dir (--log-dir)"
    )
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/self"])
    with pytest.raises(
        FileNotFoundError,
        match=r"No usable temporary directory .* the logs of a run were to go to the temporary folder",
    ):
        run_cell("rank", 2)


def test_a_folder_for_logs_that_nobody_can_write_to() -> None:
    with pytest.raises(FileNotFoundError, match="the logs of a run were to go to /proc/self; name a folder that can"):
        run_cell("rank", 2, log_dir="/proc/self")


def test_a_working_directory_that_was_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        run_cell("rank", 2, log_dir="logs")
    assert str(caught.value) == (
        "log_dir 'logs' is a folder below the working directory, which was removed: os.chdir() to one that exists, "
        "then launch again"
    )
    with pytest.raises(FileNotFoundError, match=r"the notebook's working directory was removed: os\.chdir"):
        run_cell("rank", 2, log_dir=str(tmp_path / "logs"))


# ---- a defect of the supervision

CHILDREN = (
    "import os, subprocess, sys, threading\n"
    "own_session = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
    "plain = subprocess.Popen(['sleep', '1000'])\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        print('daemon', os.getpid(), flush=True)\n"
    "        os.execvp('sleep', ['sleep', '1000'])\n"
    "    os._exit(0)\n"
    "os.wait()\n"
    "print('children', own_session.pid, plain.pid, flush=True)\n"
    "print('ready', flush=True)\n"
)


def run_cell(source: str, nprocs: int, **options: object) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), panel="none", **options)  # type: ignore[arg-type]


def children_of(run: Run) -> list[psutil.Process]:
    found = []
    for log in run.logs.values():
        for line in log.stdout.splitlines():
            for pid in line.split()[1:]:
                try:
                    found.append(psutil.Process(int(pid)))
                except psutil.NoSuchProcess:
                    continue  # it is gone already
    return found


@pytest.mark.parametrize("method", ["zygote", "forkserver"])
def test_a_supervision_that_fails_leaves_no_child_of_a_rank(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    children: list[psutil.Process] = []
    working = Connections.receive

    def broken(self: Connections, rank: WatchedRank) -> None:
        working(self, rank)
        if rank.reported:
            raise RuntimeError("a defect")

    monkeypatch.setattr(Connections, "receive", broken)
    run = run_cell(
        CHILDREN + "if rank:\n    threading.Event().wait()\n", 2, start_method=method, wait=False, log_dir=str(tmp_path)
    )
    with pytest.raises(RuntimeError, match="nblaunch failed while it watched the ranks"):
        run.wait()
    children = children_of(run)
    assert len(children) <= 6
    _, alive = psutil.wait_procs(children, timeout=10)
    for process in alive:
        process.kill()
    assert not alive
    assert sorted({*run.results, *run.failures}) == [0, 1]
    monkeypatch.setattr(Connections, "receive", working)
    assert run_cell("rank", 2).results == {0: 0, 1: 1}


@pytest.mark.parametrize("ending", ["'value'", "1 / 0", "os._exit(3)", "os.kill(os.getpid(), 9)", "os.abort()"])
@pytest.mark.parametrize("method", ["zygote", "forkserver"])
def test_children_of_every_kind_go_with_the_run(ending: str, method: str) -> None:
    run = run_cell(CHILDREN + ending, 2, start_method=method, on_failure="continue")
    # of a rank that has ended nobody can tell any more which processes were its own
    _, alive = psutil.wait_procs(children_of(run), timeout=10)
    for process in alive:
        process.kill()
    assert not alive


# The notes get the last page that there is, in which one does not fit as a whole; then there is room again.
NOTES_WITHOUT_ROOM = """
import os, sys
room = os.environ["TMPDIR"] + "/room"
print("out")
print("err", file=sys.stderr)
with open(room, "wb", buffering=0) as filler:
    try:
        while True:
            filler.write(b"x" * 4096)
    except OSError:
        pass
for _ in range(300):
    print(".", end="")
    print(".", end="", file=sys.stderr)
os.unlink(room)
for _ in range(50):
    print("x")
    print("y", file=sys.stderr)
"""


def test_a_note_that_a_full_disk_cuts_harms_no_others(small_disk: tuple[str, ...], tmp_path: Path) -> None:
    said = program(
        f"""
        import glob
        from nblaunch.logs.files import read_notes
        run = run_cell({NOTES_WITHOUT_ROOM!r}, 1)
        (path,) = glob.glob(run.logs.path + "/**/.order", recursive=True)
        notes, end = read_notes(path, 0)
        notes = [sizes for kind, *sizes in notes if kind == 0]
        print(run.status, len(notes), os.path.getsize(path) - end)
        print(all(one <= other for pair in zip(notes, notes[1:]) for one, other in zip(*pair)))
        print(len(run.logs[0].stdout.splitlines()), len(run.logs[0].stderr.splitlines()))
        del run
        """,
        *small_disk,
        tmp=tmp_path,
    )
    assert said == "finished 240 16\nTrue\n51 51\n"
