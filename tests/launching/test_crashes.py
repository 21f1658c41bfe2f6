"""Crashes in C, in cells and functions, in the main thread and in others: the signal's name, and where Python was."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import tempfile
import threading
from typing import Any

import pytest

from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.runs.failures import RanksFailed, crash_stack
from nblaunch.runs.run import Run

# as Python says it
FLOATING = "Floating-point exception" if sys.version_info >= (3, 13) else "Floating point exception"
CRASHES = {
    "SIGSEGV": ("Segmentation fault", "ctypes.string_at(0)"),
    "SIGABRT": ("Aborted", "ctypes.CDLL(None).abort()"),
    "SIGFPE": (FLOATING, "ctypes.CDLL(None)['raise'](8)"),
    "SIGBUS": ("Bus error", "cut_short()[0]"),
}
# a mapped file that was cut short has no memory behind its pages
PREPARATIONS = (
    "import ctypes, mmap, os, tempfile, threading\n"
    "def cut_short():\n"
    "    with tempfile.TemporaryFile() as file:\n"
    "        file.truncate(4096)\n"
    "        mapped = mmap.mmap(file.fileno(), 4096)\n"
    "        file.truncate(0)\n"
    "    return mapped\n"
)


def run_cell(source: str, nprocs: int = 1, **options: Any) -> Run:
    notebook = Notebook({"__name__": "__main__"})
    return launch(PREPARATIONS + source, nprocs, notebook=notebook, panel="none", **options)


@pytest.mark.parametrize("name", CRASHES)
@pytest.mark.parametrize("where", ["main", "another", "beside another"])
def test_a_crash_in_a_cell(name: str, where: str) -> None:
    said, code = CRASHES[name]
    run = run_cell(
        {
            "main": f"def crash():\n    {code}\n\n\ncrash()",
            "another": f"def crash():\n    {code}\nt = threading.Thread(target=crash)\nt.start()\nt.join()",
            "beside another": (
                f"def crash():\n    {code}\n"
                "threading.Thread(target=threading.Event().wait, daemon=True).start()\n\ncrash()"
            ),
        }[where]
    )
    failure = run.failures[0]
    number = signal.Signals[name]
    assert (failure.exitcode, failure.signal_name()) == (-number, name)
    assert failure.summary() == f"Signal {number} ({name}) received by PID {failure.pid}"
    first, *frames = failure.traceback.splitlines()
    assert first == f"Fatal Python error: {said}, most recent call first"
    ours = [frame for frame in frames if "Cell In[" in frame]
    assert ours[0] == "  Cell In[0], line 9, in crash"
    assert ours[1:] == ([] if where == "another" else ["  Cell In[0], line 12"])
    text = "\n".join(RanksFailed(run)._render_traceback_())
    assert f"Rank 0 failed first:\nFatal Python error: {said}" in text
    assert text.splitlines()[-1] == f"  {failure.summary()}"


def cut_short() -> mmap.mmap:
    with tempfile.TemporaryFile() as file:
        file.truncate(4096)
        mapped = mmap.mmap(file.fileno(), 4096)
        file.truncate(0)
    return mapped


def crash_with(name: str) -> None:
    if name == "SIGSEGV":
        ctypes.string_at(0)
    elif name == "SIGABRT":
        ctypes.CDLL(None).abort()
    elif name == "SIGFPE":
        ctypes.CDLL(None)["raise"](8)
    else:
        cut_short()[0]


def crash_in_thread(name: str) -> None:
    thread = threading.Thread(target=crash_with, args=(name,))
    thread.start()
    thread.join()


@pytest.mark.parametrize("name", CRASHES)
@pytest.mark.parametrize("function", [crash_with, crash_in_thread])
def test_a_crash_in_a_function(name: str, function: Any) -> None:
    run = launch(function, 2, args=(name,), panel="none", on_failure="continue")
    for failure in run.failures.values():
        assert failure.signal_name() == name
        frames = failure.traceback.splitlines()
        assert any(frame.startswith(f"  File {__file__}:") and frame.endswith("in crash_with") for frame in frames)
        assert not any(f"nblaunch{os.sep}rank" in frame for frame in frames)
    if function is crash_with:
        assert frames[-1].endswith("in crash_with")


def test_a_crash_among_many_threads() -> None:
    run = run_cell(
        "def deep(n):\n    if n:\n        return deep(n - 1)\n    waiting.release()\n    threading.Event().wait()\n"
        "waiting = threading.Semaphore(0)\n"
        "for _ in range(60):\n    threading.Thread(target=deep, args=(90,), daemon=True).start()\n"
        "for _ in range(60):\n    waiting.acquire()\n"
        "os.write(2, b'last words\\n')\n"
        "ctypes.string_at(0)"
    )
    failure = run.failures[0]
    assert "Cell In[0], line 19" in failure.traceback
    assert "deep" not in failure.traceback
    assert failure.stderr_tail == "last words"


def test_a_crash_in_a_thread_of_c() -> None:
    run = run_cell(
        "libc = ctypes.CDLL(None)\n"
        "thread = ctypes.c_ulong()\n"
        # strlen(NULL), in a thread that Python knows nothing of; in one expression, because it may crash before it is
        # joined
        "libc.pthread_create(ctypes.byref(thread), None, libc.strlen, None) or libc.pthread_join(thread, None)"
    )
    failure = run.failures[0]
    assert failure.signal_name() == "SIGSEGV"
    assert failure.traceback == (
        "Fatal Python error: Segmentation fault, most recent call first (in a thread that runs no Python code, while "
        "the main thread was here)\n  Cell In[0], line 10"
    )


def test_what_later_pythons_say_of_threads() -> None:
    # 3.14 adds the names of threads, and the stack of C
    dump = (
        "noise\nFatal Python error: Segmentation fault\n\n"
        'Thread 0x00007f (most recent call first):\n  File "/a.py", line 1 in other\n\n'
        'Current thread 0x00007e [python] (most recent call first):\n  File "/b.py", line 2 in mine\n\n'
        'Current thread\'s C stack trace (most recent call first):\n  Binary file "python", at x+0x1\n'
    )
    assert crash_stack(dump, {}).splitlines()[1:] == ["  File /b.py:2, in mine"]
    assert crash_stack("Fatal Python error: something\n", {}) == ""


def test_a_crash_of_one_thread_of_very_many_blames_no_other() -> None:
    source = (
        "begun = threading.Barrier(121)\n"
        "def worker():\n"
        "    begun.wait()\n"
        "    threading.Event().wait()\n"
        "for _ in range(120): threading.Thread(target=worker, daemon=True).start()\n"
        "begun.wait()\n"
        "os.abort()\n"
    )
    failure = run_cell(source).failures[0]
    assert failure.traceback == (
        "Fatal Python error: Aborted (in a thread that Python does not tell of: it had more than a hundred, and Python "
        "tells of the newest)"
    )
