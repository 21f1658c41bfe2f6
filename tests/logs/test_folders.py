"""Temporary folders go when they are not needed any more, even if those who have made them were killed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nblaunch.logs import folders as temporary
from nblaunch.logs.folders import earlier_logs, kept_logs, make_folder, refused, remove_folders, sweep
from nblaunch.logs.kept import LIMITS
from nblaunch.magic.commands import clear_logs, logs_in_words
from nblaunch.processes.starting.start_methods import START_METHODS
from tests.processes.targets import assert_gone

MAKE = """
import os, signal, sys
from nblaunch.logs.folders import make_folder
folder = make_folder()
os.mkdir(folder.path + "/attempt_0")
open(folder.path + "/attempt_0/stdout.log", "w").close()
print(folder.path, flush=True)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have a temporary directory that is empty."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(temporary, "_has_swept", True)
    # runs of earlier tests may still wait for the garbage collector
    clear_logs()
    yield place


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs that end with their standard input."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *args: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*before, sys.executable, "-c", source, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_folder_is_this_users_only_and_goes(place: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        one, other = make_folder(), make_folder()
    finally:
        os.umask(before)
    (home,) = place.iterdir()
    assert home.name.startswith("nblaunch_")
    assert Path(one.path).parent == Path(other.path).parent == home
    for folder in (home, Path(one.path), Path(other.path)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "owner.lock").stat().st_mode) == 0o600
    Path(one.path, "file").write_text("x")
    one.remove()
    assert names(home) == {"owner.lock", Path(other.path).name}
    other.remove()
    assert names(place) == set()
    one.remove()
    # and the next begins anew
    again = make_folder()
    assert os.path.isdir(again.path)
    again.remove()
    assert names(place) == set()


def test_what_a_killed_process_has_left_is_swept(place: Path, program: Callable[..., subprocess.Popen[str]]) -> None:
    killed = program(MAKE + "sys.stdin.read()")
    living = program(MAKE + "sys.stdin.read()")
    paths = [line(killed), line(living)]
    killed.kill()
    killed.wait()
    sweep(str(place))
    assert [os.path.isfile(f"{path}/attempt_0/stdout.log") for path in paths] == [False, True]
    assert names(place) == {Path(paths[1]).parent.name}


def test_a_launch_sweeps(place: Path, program: Callable[..., subprocess.Popen[str]]) -> None:
    killed = program("import nblaunch\n" + MAKE + "os.kill(os.getpid(), signal.SIGKILL)")
    path = line(killed)
    assert killed.wait() == -signal.SIGKILL
    assert os.path.isdir(path)
    launch = "import nblaunch, os, threading\nrun = nblaunch.launch('rank', 1, quiet=True)\n"
    wait = "for thread in threading.enumerate():\n    if thread.name == 'nblaunch-logs': thread.join()\n"
    done = program(launch + wait + f"print(run.results, os.path.exists({path!r}))")
    assert line(done) == "{0: 0} False"
    assert done.wait() == 0
    assert names(place) == set()


KILLED = """
import nblaunch, os, signal, sys
def work():
    print("the last words", flush=True)
    print("and an error", file=sys.stderr, flush=True)
    import threading
    threading.Event().wait()
run = nblaunch.launch(work, 2, start_method="spawn", wait=False, quiet=True)
def written():
    return run.logs and all(len(run.logs[rank].stdout) and len(run.logs[rank].stderr) for rank in range(2))
import time
# nobody tells a program that a log has grown
while not written():
    time.sleep(0.01)
print(run.logs.root, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(place: Path, program: Callable[..., subprocess.Popen[str]]) -> str:
    """The folder of a run whose program was killed."""
    process = program(KILLED)
    path = line(process)
    assert process.wait() == -signal.SIGKILL
    return path


def test_the_logs_of_a_killed_run_are_kept_for_a_while(place: Path, killed: str) -> None:
    sweep(str(place))
    [kept] = kept_logs()
    assert (kept.folder, kept.title) == (killed, "launch(work, 2)")
    assert [Path(folder, "stdout.log").read_text() for folder in kept.ranks().values()] == ["the last words\n"] * 2
    told = logs_in_words()
    assert told.splitlines()[1].startswith(" 1  launch(work, 2), last written ")
    assert told.splitlines()[1].endswith(f" in {killed}")
    assert logs_in_words(1) == (
        f"launch(work, 2), in {killed}\n--- rank 0, stdout\nthe last words\n--- rank 0, stderr\nand an error\n"
        "--- rank 1, stdout\nthe last words\n--- rank 1, stderr\nand an error"
    )
    with pytest.raises(ValueError, match="there is 1 run of which logs are kept"):
        logs_in_words(2)
    # a day later
    old = kept.written_at - LIMITS.seconds
    for path in Path(killed).rglob("*"):
        os.utime(path, (old, old))
    sweep(str(place))
    assert names(place) == set()
    assert logs_in_words().startswith("No logs are kept of runs that did not come to their end.")


def test_logs_of_killed_runs_take_no_more_than_they_may(
    place: Path, killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIMITS, "max_bytes", 10)
    sweep(str(place))
    assert not os.path.exists(killed)
    sweep(str(place))
    assert names(place) == set()


@pytest.mark.parametrize("how", ["nothing is kept", "cleared"])
def test_logs_of_killed_runs_go_when_nobody_wants_them(
    place: Path, killed: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "cleared":
        assert clear_logs().startswith("Removed the logs of 1 run, ")
    else:
        monkeypatch.setattr(LIMITS, "seconds", 0.0)
    sweep(str(place))
    assert names(place) == set()


def test_a_folder_in_another_container_is_seen_to_be_needed(
    place: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    unshare = ("unshare", "-rpf", "--mount-proc")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("there can be no other namespaces of processes here")
    inside = program(MAKE + "print(os.getpid(), flush=True)\nsys.stdin.read()", before=unshare)
    path = line(inside)
    assert line(inside) == "1"
    sweep(str(place))
    assert os.path.isdir(path)
    inside.communicate()
    assert inside.returncode == 0
    sweep(str(place))
    assert names(place) == set()


# ---- processes that come of the owner


def test_a_forked_process_neither_removes_it_nor_seems_to_be_the_owner(
    place: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    # the child waits for its parent's standard input
    source = MAKE + "if os.fork() == 0:\n    folder.remove()\n    print(os.getpid(), flush=True)\nsys.stdin.read()"
    owner = program(source)
    path, child = line(owner), int(line(owner))
    assert os.path.isfile(f"{path}/attempt_0/stdout.log")
    owner.kill()
    owner.wait()
    assert os.path.exists(f"/proc/{child}")
    sweep(str(place))
    assert names(place) == set()
    owner.communicate()
    assert_gone([child])


def test_a_forked_process_has_a_folder_of_its_own(place: Path) -> None:
    mine = make_folder()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            own = make_folder()
            os.write(writer, own.path.encode())
            own.remove()
            mine.remove()
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    with open(reader) as pipe:
        theirs = pipe.read()
    assert Path(theirs).parent.parent == place
    assert Path(theirs).parent != Path(mine.path).parent
    assert names(place) == {Path(mine.path).parent.name}
    mine.remove()
    assert names(place) == set()


HOLDERS = """
import os, subprocess, sys
import psutil
import nblaunch

def work():
    import subprocess, sys, threading
    child = subprocess.Popen(["sleep", "1000"], close_fds=False)
    print("ready", flush=True)
    threading.Event().wait()

run = nblaunch.launch(work, 2, start_method=sys.argv[1], wait=False, panel="none")
other = subprocess.Popen(["sleep", "1000"], close_fds=False)
while not all(log.stdout for log in run.logs.values()):
    os.sched_yield()
holders = {}
for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
    links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{process.pid}/fd") if os.path.lexists(entry.path)]
    holders[process.pid] = any(link.endswith("owner.lock") for link in links)
print(len(holders) >= 6, [pid == os.getpid() for pid, holds in holders.items() if holds], flush=True)
print(run.logs.root, flush=True)
sys.stdin.read()
other.kill()
run.kill()
run.wait()
"""


@pytest.mark.parametrize("method", START_METHODS)
def test_only_the_owner_has_its_lock(place: Path, program: Callable[..., subprocess.Popen[str]], method: str) -> None:
    process = program(HOLDERS, method)
    assert line(process) == "True [True]"
    sweep(str(place))
    assert os.path.isdir(line(process))
    process.communicate()
    assert process.returncode == 0
    assert names(place) == set()


# ---- what is not ours, or not there


def test_only_what_is_known_to_be_abandoned_is_swept(place: Path) -> None:
    (place / "nblaunch_torch").mkdir()
    (place / "nblaunch_torch" / "stdout.log").write_text("x")
    (place / "nblaunch_file").write_text("x")
    (place / "precious").mkdir()
    (place / "precious" / "owner.lock").write_text("x")
    (place / "nblaunch_link").symlink_to(place / "precious")
    (place / "nblaunch_linked").mkdir()
    (place / "nblaunch_linked" / "owner.lock").symlink_to(place / "precious" / "owner.lock")
    (place / ".nblaunch_new").mkdir()
    (place / ".nblaunch_old").mkdir()
    os.utime(place / ".nblaunch_old", (1e9, 1e9))
    before = names(place)
    sweep(str(place))
    assert names(place) == before - {".nblaunch_old"}
    assert (place / "precious" / "owner.lock").read_text() == "x"
    sweep(str(place / "missing"))


def test_only_this_users_are_swept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "nblaunch_left").mkdir()
    (place / "nblaunch_left" / "owner.lock").write_text("")
    monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    sweep(str(place))
    assert names(place) == {"nblaunch_left"}
    monkeypatch.undo()
    sweep(str(place))
    assert names(place) == set()


def test_what_is_left_in_one_is_removed_too(place: Path) -> None:
    left = place / "nblaunch_left"
    (left / "run" / "attempt_0").mkdir(parents=True)
    (left / "owner.lock").write_text("")
    (left / "stray").write_text("x")
    (left / "link").symlink_to(place)
    sweep(str(place))
    assert names(place) == set()


def test_a_file_system_without_locks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        folder = make_folder()
    # nobody can tell that it is needed, so nobody touches it
    sweep(str(place))
    assert os.path.isdir(folder.path)
    folder.remove()
    assert names(place) == set()


def test_somebody_else_has_tidied_up(place: Path) -> None:
    one = make_folder()
    (home,) = place.iterdir()
    shutil.rmtree(home)
    other = make_folder()
    assert os.path.isdir(other.path)
    one.remove()
    assert os.path.isdir(other.path)
    other.remove()
    assert names(place) == set()


def test_a_full_disk_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(os.listdir("/proc/self/fd"))
    real = os.open

    def full(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith("owner.lock"):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return real(path, flags, mode, dir_fd=dir_fd)

    def rename(*_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # not of `os`: pathlib of Python 3.10 has kept that one
    for owner, name, replacement in ((os, "open", full), (Path, "rename", rename)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, replacement)
            with pytest.raises(OSError, match="No space left on device"):
                make_folder()
        assert names(place) == set()
    assert set(os.listdir("/proc/self/fd")) == before


COMPETE = """
import os, sys
from nblaunch.logs import folders
for _ in range(200):
    folders._has_swept = True
    folder = folders.make_folder()
    folders.sweep(sys.argv[1])
    assert os.path.isdir(folder.path)
    folder.remove()
print("done")
"""


def test_many_that_make_and_sweep_at_once_keep_what_they_need(
    place: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    processes = [program(COMPETE, str(place)) for _ in range(4)]
    assert [line(process) for process in processes] == ["done"] * 4
    assert [process.wait() for process in processes] == [0] * 4
    assert names(place) == set()


# ---- a disk that is full


def filled(folder: Path, size: int) -> Path:
    """Put logs of this size into a folder, as a run does."""
    rank = folder / "run_0123456789abcdef" / "attempt_0" / "0"
    rank.mkdir(parents=True)
    (rank / "stdout.log").write_bytes(b"x" * size)
    (rank / "stderr.log").touch()
    return folder


def test_logs_of_earlier_runs_are_named_by_size(place: Path) -> None:
    folders = [make_folder() for _ in range(6)]
    paths = [filled(Path(folder.path), size) for folder, size in zip(folders, [400, 100, 10, 300, 200, 0], strict=True)]
    assert earlier_logs(str(place)) == "", "to remove so little helps nobody"
    for path, size in zip(paths, [400, 100, 10, 300, 200, 0], strict=True):
        (path / "run_0123456789abcdef" / "attempt_0" / "0" / "stdout.log").write_bytes(b"x" * size * 4096)
    first = f"{paths[0]} 1.6 MB"
    rest = f"{paths[3]} 1.2 MB, {paths[4]} 819 kB, {paths[1]} 410 kB "
    rest += "(%multiproc clear logs in their notebook removes them); "
    assert earlier_logs(str(place)) == f"those of earlier runs take room there: {first}, {rest}"
    # a run's own are not among them
    own = paths[0] / "run_0123456789abcdef" / "attempt_0"
    assert earlier_logs(str(own)) == f"those of earlier runs take room there: {rest}"
    error = refused(OSError(errno.ENOSPC, "No space left on device"), str(place))
    assert str(error) == (
        f"[Errno 28] No space left on device: the logs of a run were to go to {place}; those of earlier runs take room "
        f"there: {first}, {rest}make room there, or name a folder that can be written to with log_dir (--log-dir)"
    )
    for folder in folders:
        folder.remove()


def test_logs_that_somebody_has_named_a_folder_for(tmp_path: Path) -> None:
    kept = filled(tmp_path / "nblaunch_mine" / "logs", 1_000_000)
    (kept / "other").mkdir()
    (kept / "other" / "data").write_bytes(b"x" * 1_000_000)
    other = kept / "run_fedcba9876543210" / "attempt_0"
    other.mkdir(parents=True)
    assert earlier_logs(str(other)) == (
        f"those of earlier runs take room there: {kept}/run_0123456789abcdef 1.0 MB (kept until you remove them); "
    )
    assert earlier_logs(str(kept)) == earlier_logs(str(other))
    assert earlier_logs(str(tmp_path / "none")) == ""


def test_folders_are_removed_but_those_in_use(place: Path) -> None:
    in_use, ended, empty = make_folder(), make_folder(), make_folder()
    filled(Path(in_use.path), 5000)
    filled(Path(ended.path), 8192)
    assert remove_folders({in_use.path}) == (1, 8192)
    assert [os.path.exists(folder.path) for folder in (in_use, ended, empty)] == [True, False, True]
    assert remove_folders({in_use.path}) == (0, 0)
    for folder in (ended, in_use, empty):  # as the runs do that are forgotten later
        folder.remove()
    assert not os.listdir(place)
