"""How stacks read: down to the user's code, folded, and what a failed run says of the ranks that waited."""

from __future__ import annotations

import os
import pickle
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nblaunch
from nblaunch.events import Frame, Stack
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.processes.child import rank_process
from nblaunch.runs.failures import RanksFailed
from nblaunch.runs.run import Run
from nblaunch.stacks import dump
from nblaunch.stacks.folding import Stacks, label_cells, users_frames, where

WAIT = Frame(threading.__file__, 629, "wait")
INNER = Frame("Cell In[3]", 2, "helper")
CELL = Frame("Cell In[7]", 9, "<module>")
LAUNCHER = Frame("/x/IPython/core/interactiveshell.py", 3700, "run_code")


def stack(*frames: Frame, state: str = "S") -> Stack:
    return Stack((frames,), state)


def test_cells_have_their_names_in_the_notebook() -> None:
    (named,) = label_cells(
        {2: stack(Frame("/tmp/ipykernel_7/1.py", 4, "f"), WAIT)}, {"/tmp/ipykernel_7/1.py": 12}
    ).values()
    assert named.threads == ((Frame("Cell In[12]", 4, "f"), WAIT),)


def test_what_calls_a_rank_is_known_by_its_name() -> None:
    """Stacks with that frame are complete, also where Python tells of the innermost frames only."""
    name, file = dump._CALLS_A_RANK
    assert rank_process._call.__code__.co_name == name
    assert rank_process._call.__code__.co_filename.endswith(os.sep + file)


def test_the_launcher_is_left_out() -> None:
    assert users_frames([WAIT, CELL, LAUNCHER, Frame("x.py", 1, "main")]) == [WAIT, CELL]
    # a cell may run another one, and a rank may not have come to it
    inner = [CELL, LAUNCHER, Frame(LAUNCHER.file, 3000, "run_cell"), Frame("Cell In[8]", 1, "<module>")]
    assert users_frames([*inner, LAUNCHER]) == inner
    assert users_frames([WAIT, Frame(LAUNCHER.file, 3000, "run_cell")]) == [WAIT]
    assert users_frames([Frame(LAUNCHER.file, 3000, "run_cell"), Frame("x.py", 1, "main")]) == []
    assert users_frames([WAIT, CELL]) == [WAIT, CELL]


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (stack(WAIT, CELL, LAUNCHER), "waiting in wait, Cell In[7], line 9"),
        (stack(WAIT, CELL, state="R"), "running in wait, Cell In[7], line 9"),
        (stack(WAIT, INNER, CELL, LAUNCHER), "waiting in wait, Cell In[3], line 2, in helper"),
        (
            stack(WAIT, replace(WAIT, function="all_reduce"), replace(WAIT, function="_wrapper"), CELL),
            "waiting in all_reduce, Cell In[7], line 9",
        ),
        (stack(replace(WAIT, function="wrapper"), CELL), "waiting in wrapper, Cell In[7], line 9"),
        (stack(CELL, LAUNCHER), "Cell In[7], line 9"),
        (stack(Frame("/home/me/train.py", 5, "step"), CELL), "File /home/me/train.py:5, in step"),
        (stack(WAIT), f"File {threading.__file__}:629, in wait"),
        (stack(LAUNCHER), "not yet in the cell, or no longer"),
        (
            Stack((), "T", "it is stopped (SIGSTOP), and answers when it goes on"),
            "no stack: it is stopped (SIGSTOP), and answers when it goes on",
        ),
    ],
)
def test_where_a_rank_is(shown: Stack, words: str) -> None:
    assert where(shown) == words


def test_ranks_at_the_same_place_are_folded() -> None:
    waits = stack(WAIT, CELL, LAUNCHER)
    text = str(Stacks({0: waits, 1: waits, 2: waits, 3: stack(Frame("Cell In[7]", 6, "<module>")), 5: waits}))
    assert text == (
        "ranks 0-2, 5: waiting in wait, Cell In[7], line 9\n"
        f"    File {threading.__file__}:629, in wait\n"
        "    Cell In[7], line 9\n"
        "rank 3: Cell In[7], line 6"
    )


def test_deep_stacks_and_many_groups_are_bounded() -> None:
    deep = stack(*[replace(WAIT, line=line) for line in range(50)], CELL)
    lines = Stacks({0: deep}).lines()
    assert len(lines) == 1 + 8 + 1 + 1
    assert lines[-2:] == ["    Cell In[7], line 9", "    … and 42 of libraries between"]
    apart = {rank: stack(Frame("Cell In[7]", rank + 1, "<module>")) for rank in range(40)}
    assert Stacks(apart).lines()[-1] == "… and ranks 12-39 elsewhere"


def down(*lines: int) -> list[Frame]:
    return [Frame("Cell In[3]", line, "down") for line in lines]


def test_the_same_line_of_a_recursion_is_told_once() -> None:
    lines = Stacks({0: stack(WAIT, *down(*[2] * 70), *down(4), CELL, LAUNCHER)}).lines()
    assert lines[2:] == [
        "    Cell In[3], line 2, in down (70 times)",
        "    Cell In[3], line 4, in down",
        "    Cell In[7], line 9",
    ]


def test_left_out_frames_are_said_to_be_whose_they_are() -> None:
    # a recursion through two lines, in the user's own code
    lines = Stacks({0: stack(WAIT, *down(*[2, 3] * 30), CELL, LAUNCHER)}).lines()
    assert lines[-2:] == ["    Cell In[7], line 9", "    … and 46 of your own code between"]
    assert len(lines) == 1 + 8 + 8 + 1
    mixed = [frame for line in range(30) for frame in (replace(WAIT, line=line), *down(line))]
    lines = Stacks({0: stack(*mixed, CELL, LAUNCHER)}).lines()
    assert lines[-1] == "    … and 45 (19 of your own code) between"


def test_a_stack_that_is_cut_says_so() -> None:
    asking = Frame(os.path.join(os.path.dirname(nblaunch.__file__), "rank", "asking.py"), 9, "ask")
    deep = replace(stack(asking, *down(*[2] * 99)), cut=True)
    assert where(deep) == "waiting for an answer, Cell In[3], line 2, in down"
    assert Stacks({0: deep}).lines()[-2:] == [
        "    Cell In[3], line 2, in down (99 times)",
        "    … and all that are further out: Python tells of no more than a hundred",
    ]


def test_threads_that_are_left_out_are_counted() -> None:
    one = stack(WAIT, CELL, LAUNCHER)
    many = replace(one, threads=one.threads + ((WAIT,),) * 100, left_out=50)
    line = "    (Python tells of this thread, the main one, and of the newest hundred; {} more are left out)"
    assert Stacks({0: many, 1: many}).lines()[-1] == line.format("50")
    assert Stacks({0: many, 1: replace(many, left_out=53)}).lines()[-1] == line.format("50-53")
    # those of libraries, and those that run
    assert Stacks({0: replace(one, left_out=3)}).lines()[-1] == "    Cell In[7], line 9"


# ---- of real ranks


DEEP = """import threading
def down(n):
    if n: down(n - 1)
    else: threading.Event().wait()
down({depth})
"""


@pytest.mark.parametrize("step", ["down(n - 1)", "eval('down(n - 1)')", "exec('down(n - 1)')"])
def test_ranks_that_are_deep_in_a_recursion(step: str) -> None:
    run = begin(DEEP.replace("down(n - 1)", step).format(depth=200), 2)
    # a rank on a busy machine may still be on its way into the wait
    there = waits_at(4, 0, 1)
    stacks = until(run, lambda stacks: there(stacks) and str(stacks).startswith("ranks 0-1: waiting in wait, "))
    text = str(stacks)
    if step == "down(n - 1)":
        assert re.search(r"^ {4}\S.*, line 3, in down \(\d\d times\)$", text, re.MULTILINE)
    assert text.endswith("    … and all that are further out: Python tells of no more than a hundred")
    run.kill()
    run.wait()


THREADS = """import threading
begun = threading.Barrier(121)
def worker():
    begun.wait()
    threading.Event().wait()
for _ in range(120): threading.Thread(target=worker, daemon=True).start()
begun.wait()
threading.Event().wait()
"""


def test_ranks_with_many_threads() -> None:
    run = begin(THREADS, 2)
    stacks = until(
        run, lambda stacks: waits_at(8, 0, 1)(stacks) and all(len(stacks[rank].threads) == 101 for rank in (0, 1))
    )
    assert all(stacks[rank].left_out >= 20 for rank in (0, 1))
    assert "    (Python tells of this thread, the main one, and of the newest hundred; " in str(stacks)
    run.kill()
    run.wait()


def begin(source: str, nprocs: int, **options: Any) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}), quiet=True, wait=False, **options)


def until(run: Run, there: Callable[[Stacks], bool]) -> Stacks:
    """Ask for stacks until ranks are where they are going to be."""
    while True:
        try:
            stacks = run.stacks()
        except TimeoutError:
            continue
        if there(stacks):
            return stacks


def waits_at(line: int, *ranks: int) -> Callable[[Stacks], bool]:
    return lambda stacks: all(rank in stacks and f", line {line}," in f"{where(stacks[rank])}," for rank in ranks)


MISSING = """import pathlib, threading
gate = pathlib.Path({gate!r})
def collective():
    threading.Event().wait()
if rank == 1:
    while not gate.exists(): pass
    raise ValueError("no data")
collective()
"""


def test_a_failure_tells_where_the_others_were(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = begin(MISSING.format(gate=str(gate)), 4)
    until(run, lambda stacks: waits_at(4, 0, 2, 3)(stacks) and 1 in stacks)
    gate.touch()
    run.wait()
    assert sorted(run.stacks_at_failure) == [0, 2, 3]
    stack = run.failures[0].stack
    assert stack is not None
    assert "collective" in [frame.function for frame in stack.threads[0]]
    assert run.failures[1].stack is None
    text = str(RanksFailed(run)._text(coloured=False))
    assert "Where they were when rank 1 failed:\n  ranks 0, 2-3: waiting in wait, " in text
    assert ", line 4, in collective\n" in text
    # after the run the same is told
    assert str(run.stacks()) == str(run.stacks_at_failure)
    assert list(run.stacks([2])) == [2]


def test_a_timeout_tells_where_they_were() -> None:
    run = begin("import threading\nif rank: threading.Event().wait()\nthreading.Lock().acquire()\nwhile True: pass", 2)
    until(run, lambda stacks: waits_at(2, 1)(stacks) and waits_at(4, 0)(stacks))
    run.stop()
    run.wait()
    late = begin("import threading\nthreading.Event().wait()", 2, timeout=0.3, grace=0.1)
    late.wait()
    assert late.status == "timed out"
    # how far they had come by then is up to the machine; each has told
    assert sorted(late.stacks_at_failure) == [0, 1]
    assert "Where they were then:\n  rank" in RanksFailed(late)._text(coloured=False)


def test_stacks_of_some_ranks_only_and_of_none() -> None:
    run = begin("import threading\nthreading.Event().wait()", 3)
    until(run, waits_at(2, 0, 1, 2))
    assert list(run.stacks([1])) == [1]
    with pytest.raises(ValueError, match="there is no ranks 3, 7: this run has ranks 0-2"):
        run.stacks([1, 3, 7])
    run.kill()
    run.wait()
    assert str(run.stacks()) == "no rank is running"


def test_signals_reach_the_ranks_that_are_named() -> None:
    run = begin(
        "import signal, threading\n"
        "got = threading.Event()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: got.set())\n"
        "while not got.is_set(): signal.sigtimedwait([], 0.01)\n"
        "'got it'",
        2,
    )
    until(run, waits_at(4, 0, 1))
    run.signal("SIGUSR1", ranks=[0])
    until(run, lambda stacks: 0 not in stacks)
    run.signal(signal.SIGUSR1)
    run.wait()
    assert run.results == {0: "got it", 1: "got it"}
    run.signal("USR1")  # too late, and harmless


@pytest.mark.parametrize("number", ["SIGNONE", 12345, None])
def test_a_signal_that_is_none(number: Any) -> None:
    run = begin("rank", 1)
    with pytest.raises(ValueError, match=r"is no signal: name one as in signal\.SIGUSR1 or 'SIGUSR1'"):
        run.signal(number)
    run.wait()
    assert run.ok


def test_native_stacks_need_py_spy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = begin("import threading\nthreading.Event().wait()", 1)
    until(run, waits_at(2, 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(FileNotFoundError, match="which is not installed: pip install py-spy, or ask without native"):
        run.stacks(native=True)
    # one that is not allowed to look
    tool = tmp_path / "py-spy"
    tool.write_text("#!/bin/sh\necho 'Error: Permission Denied' >&2\nexit 1\n")
    tool.chmod(0o755)
    text = run.stacks(native=True)[0].native
    assert text.startswith("py-spy could not look into it: Error: Permission Denied")
    # and one that is
    tool.write_text(
        "#!/bin/sh\nprintf 'Process 1: python\\nPython v3\\n\\nThread 1 (idle)\\n    futex (libc.so.6)\\n"
        "    InteractiveShell.run_code (x.py:1)\\n    main (x.py:1)\\n'\n"
    )
    lines = run.stacks(native=True).lines()
    assert lines[1:] == ["    Thread (idle)", "        futex (libc.so.6)"]
    assert os.path.exists(f"/proc/{run.pids[0]}")
    run.kill()
    run.wait()


def test_stacks_asked_for_while_a_run_ends_are_not_waited_for() -> None:
    run = begin("rank", 2)
    while not run.wait(0):
        run.stacks()
    assert str(run.stacks()) == "no rank is running"


def test_a_rank_that_asks_is_said_to_wait_for_an_answer() -> None:
    asking = Frame(os.path.join(os.path.dirname(nblaunch.__file__), "rank", "asking.py"), 9, "ask")
    assert where(stack(WAIT, asking, CELL, LAUNCHER)) == "waiting for an answer, Cell In[7], line 9"


def test_logs_that_are_no_files_any_more_hold_nobody() -> None:
    run = begin(
        "import os\nbase = os.path.dirname(os.environ['TORCHELASTIC_ERROR_FILE'])\n"
        "for name in ('stderr.log', 'stacks.txt'):\n"
        "    os.remove(f'{base}/{name}')\n    os.mkfifo(f'{base}/{name}')\n"
        "if rank: raise ValueError('x')\nimport threading\nthreading.Event().wait()",
        2,
    )
    assert run.wait(60)
    assert run.root_cause is not None
    assert run.root_cause.rank == 1


def test_a_run_that_was_stopped_says_so() -> None:
    run = begin("import threading\nthreading.Event().wait()", 2)
    until(run, waits_at(2, 0, 1))
    run.stop()
    run.wait()
    text = RanksFailed(run)._text(coloured=False)
    assert text.startswith("the run was stopped before 2 of 2 ranks had finished\n\nranks 0-1 were ended with the run")


def test_a_run_is_not_sent_to_ranks() -> None:
    run = begin("rank", 1)
    run.wait()
    with pytest.raises(TypeError, match="a Run cannot be sent to ranks: bind what they need of it first"):
        pickle.dumps(run)


def test_other_threads_are_told_with_their_places() -> None:
    waits = Frame(threading.__file__, 629, "wait")
    below = Frame(threading.__file__, 975, "run")
    main = (waits, Frame("Cell In[7]", 9, "<module>"))
    worker = (waits, Frame("Cell In[7]", 4, "work"), below)
    idle = (waits, below)
    lines = Stacks({0: Stack((main, worker, worker, idle), "S"), 1: Stack((main, worker), "S")}).lines()
    assert lines[0] == "ranks 0-1: waiting in wait, Cell In[7], line 9"
    assert lines[-1] == "    3 other threads: in wait, Cell In[7], line 4, in work"
    many = tuple((waits, Frame("Cell In[7]", line, "work"), below) for line in range(20, 30))
    lines = Stacks({0: Stack((main, *many), "S")}).lines()
    assert lines[-5:-1] == [f"    another thread: in wait, Cell In[7], line {line}, in work" for line in range(20, 24)]
    assert lines[-1] == "    … and 6 other threads elsewhere"


def test_of_a_rank_that_asks_only_the_users_frames_are_told() -> None:
    asking = Frame(os.path.join(os.path.dirname(nblaunch.__file__), "rank", "asking.py"), 70, "ask")
    cell = Frame("Cell In[3]", 2, "<module>")
    outer = Frame("Cell In[2]", 5, "outer")
    shell = Frame("/lib/IPython/core/interactiveshell.py", 3, "run_code")
    assert Stacks({0: Stack(((asking, cell, outer, shell),), "S")}).lines() == [
        "rank 0: waiting for an answer, Cell In[3], line 2",
        "    Cell In[3], line 2",
        "    Cell In[2], line 5, in outer",
    ]
    held = Frame(os.path.join(os.path.dirname(nblaunch.__file__), "rank", "debugging.py"), 339, "debug_failure")
    ours = Frame(os.path.join(os.path.dirname(nblaunch.__file__), "rank", "failure_report.py"), 80, "report_failure")
    assert Stacks({0: Stack(((asking, held, ours),), "S")}).lines() == ["rank 0: held at its failure"]
