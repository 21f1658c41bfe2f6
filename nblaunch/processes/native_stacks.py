"""Stacks with the frames of C code, by py-spy where it is installed and the system lets it look."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys

__all__ = ["native_stack", "require_py_spy"]

_THREAD = re.compile(r"^Thread [0-9x]+ ")
_LAUNCHER = re.compile(r"InteractiveShell\.run_code \(|\(nblaunch/")
# Seconds for one process; it reads the symbols of every library.
_PATIENCE = 30.0


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


def native_stack(pid: int) -> str:
    """Return the stacks of a process's threads, those of C code among the Python ones, or why there are none.

    The process is held for some milliseconds meanwhile.
    """
    command = [require_py_spy(), "dump", "--native", "--pid", str(pid)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"py-spy did not answer within {_PATIENCE:g} s"
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode or not said:
        problem = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        hint = ""
        with contextlib.suppress(OSError), open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as file:
            if file.read().strip() != "0":
                hint = " (/proc/sys/kernel/yama/ptrace_scope is not 0: only root may look into other processes)"
        return f"py-spy could not look into it: {problem}{hint}"
    # the first lines say which process and which Python, which is known
    _, _, threads = said.partition("\n\n")
    return _users_part(threads) or said


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
