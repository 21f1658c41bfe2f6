"""Stacks with the frames of C code, by py-spy where it is installed and the system lets it look."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from nblaunch.flag import Flag
from nblaunch.interrupts import MAX_WAIT_SLICE

__all__ = ["native_stacks", "require_py_spy"]

_THREAD = re.compile(r"^Thread [0-9x]+ ")
_LAUNCHER = re.compile(r"InteractiveShell\.run_code \(|\(nblaunch/")
# Seconds for one process, because the symbols of every library are read; and for all together.
_PATIENCE = 30.0
_PATIENCE_FOR_ALL = 60.0
# Processes that are looked into at the same time: each look takes a core, and 100 MB and more.
_AT_ONCE = 8


def require_py_spy() -> str:
    """Return the path of py-spy, beside this interpreter or on the ``PATH``.

    Raises
    ------
    FileNotFoundError
        If it is not installed.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "py-spy")
    found = beside if os.access(beside, os.X_OK) else shutil.which("py-spy")
    if found is None:
        raise FileNotFoundError(
            "frames of C code are read by py-spy, which is not installed: pip install py-spy, or ask without native"
        )
    return found


def native_stacks(pids: Mapping[int, int], is_running: Callable[[int], bool]) -> dict[int, str]:
    """Return the stacks of ranks' threads, those of C code among the Python ones, or why there are none.

    Each process is held for some milliseconds meanwhile. Several are looked into at the same time, and what could not
    be had within a minute is left out.

    Parameters
    ----------
    pids : mapping of int to int
        Process id of each rank.
    is_running : callable
        Tells of a rank whether its process is still there; asked when its turn has come.

    Raises
    ------
    FileNotFoundError
        If py-spy is not installed.
    KeyboardInterrupt
        If interrupted; no py-spy is left running then.
    """
    looks = _Looks(require_py_spy(), pids, is_running)
    threads: list[_Worker] = []
    try:
        # Not in this thread, if there are others: an interrupt while a process is being made would lose sight of it.
        with contextlib.suppress(RuntimeError):
            for _ in range(min(_AT_ONCE, len(pids))):
                thread = _Worker(looks)
                # before it starts, so that an interrupt meanwhile leaves none unknown
                threads.append(thread)
                thread.start()
        if not any(thread.ident for thread in threads):
            looks.work()
        _wait_for(threads)
    except BaseException:
        looks.stop()
        _wait_for(threads)
        raise
    return looks.found


class _Worker(threading.Thread):
    def __init__(self, looks: _Looks) -> None:
        super().__init__(name="nblaunch-py-spy", daemon=True)
        self._looks = looks
        self.done = Flag()

    def run(self) -> None:
        try:
            self._looks.work()
        finally:
            self.done.set()


def _wait_for(threads: list[_Worker]) -> None:
    # not join(), which after an interrupt takes a thread for stopped that still runs (seen with Python 3.11)
    for thread in threads:
        if thread.ident is not None:
            thread.done.wait()
            thread.join(MAX_WAIT_SLICE)


class _Looks:
    """Looks into one process after the other, in as many threads as call `work`."""

    def __init__(self, py_spy: str, pids: Mapping[int, int], is_running: Callable[[int], bool]) -> None:
        self.found: dict[int, str] = {}
        self._py_spy = py_spy
        self._left = deque(sorted(pids.items()))
        self._is_running = is_running
        self._deadline = time.monotonic() + _PATIENCE_FOR_ALL
        # guards what `stop` looks at
        self._lock = threading.Lock()
        self._at_work: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def work(self) -> None:
        """Take processes until none is left."""
        with contextlib.suppress(IndexError):
            while True:
                rank, pid = self._left.popleft()
                self.found[rank] = self._look(rank, pid)

    def stop(self) -> None:
        """End what is going on."""
        with self._lock:
            self._stopped = True
            self._left.clear()
            for process in self._at_work:
                process.kill()

    def _look(self, rank: int, pid: int) -> str:
        seconds = min(_PATIENCE, self._deadline - time.monotonic())
        if seconds <= 0:
            return f"its turn had not come after {_PATIENCE_FOR_ALL:g} s: ask for fewer ranks at a time"
        # its number may be another process's by now
        if not self._is_running(rank):
            return "it ended before py-spy could look into it"
        try:
            code, said, complaint = self._run([self._py_spy, "dump", "--native", "--pid", str(pid)], seconds)
        except subprocess.TimeoutExpired:
            return f"py-spy did not answer within {seconds:.2g} s"
        except OSError as error:
            return f"py-spy could not be started: {error.strerror}"
        if not code and said:
            # the first lines say which process and which Python, which is known
            _, _, threads = said.partition("\n\n")
            return _users_part(threads) or said
        if not self._is_running(rank):
            return "it ended before py-spy could look into it"
        return f"py-spy could not look into it: {(complaint.splitlines() or ['it said nothing'])[-1]}{_hint()}"

    def _run(self, command: list[str], seconds: float) -> tuple[int, str, str]:
        with self._lock:
            if self._stopped:
                return 1, "", ""
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            self._at_work.add(process)
        with process:  # closes its pipes
            try:
                said, complaint = process.communicate(timeout=seconds)
            except BaseException:
                process.kill()
                process.wait()  # which the end of this block does not after an interrupt
                raise
            finally:
                with self._lock:
                    self._at_work.discard(process)
        return process.returncode, said.decode(errors="replace").strip(), complaint.decode(errors="replace").strip()


def _hint() -> str:
    with contextlib.suppress(OSError), open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as file:
        if file.read().strip() != "0":
            return " (/proc/sys/kernel/yama/ptrace_scope is not 0: only root may look into other processes)"
    return ""


def _users_part(threads: str) -> str:
    """Leave out the launcher's frames, and the numbers of threads, by which stacks would differ that are equal."""
    kept = []
    in_launcher = False
    for line in threads.splitlines():
        if line.startswith("Thread "):
            in_launcher = False
        elif _LAUNCHER.search(line):
            in_launcher = True
        if not in_launcher:
            kept.append(_THREAD.sub("Thread ", line))
    return "\n".join(kept)
