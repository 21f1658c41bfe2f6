"""Ranks that hang, restart or are not waited for, in a real kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

# Rank 1 raises when the others have been seen where they wait: they are asked again and again until then.
BEGIN = """%%multiproc 3 --no-wait --out job
import pathlib, threading
def collective():
    threading.Event().wait()
if rank == 1:
    while not pathlib.Path({gate!r}).exists(): threading.Event().wait(0.01)
    raise ValueError("no data")
collective()"""
UNTIL_THEY_WAIT = """import nblaunch.stacks.folding
while True:
    places = [nblaunch.stacks.folding.where(stack) for stack in job.stacks().values()]
    if sum("in collective" in place for place in places) == 2 and any("line 6" in place for place in places): break"""


def test_stacks_while_it_runs_and_afterwards(kernel: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    begun = kernel.run(BEGIN.format(gate=str(gate))).ok()
    kernel.run(UNTIL_THEY_WAIT).ok()
    n = begun.count
    text = kernel.run("%multiproc stacks").ok().stdout
    assert text.startswith(f"ranks 0, 2: waiting in wait, Cell In[{n}], line 4, in collective\n")
    assert f"    Cell In[{n}], line 8\n" in text
    assert re.search(rf"^rank 1: .*Cell In\[{n}\], line 6$", text, re.MULTILINE)
    assert "interactiveshell.py" not in text
    assert "rank 1" not in kernel.run("%multiproc stacks 0,2").ok().stdout
    gate.touch()
    kernel.run("job.wait()").ok()
    after = kernel.run("%multiproc stacks").ok().stdout
    assert after.startswith(
        "No run is going on. Where ranks of the last one were when rank 1 failed:\n"
        f"ranks 0, 2: waiting in wait, Cell In[{n}], line 4, in collective\n"
    )
    reply = kernel.run("job.raise_for_failures()")
    assert (
        f"Where they were when rank 1 failed:\n  ranks 0, 2: waiting in wait, Cell In[{n}], line 4" in reply.traceback
    )


def test_runs_that_are_not_waited_for_are_stopped(kernel: Kernel) -> None:
    kernel.run("%%multiproc 2 --no-wait\nimport threading\nprint('begun')\nthreading.Event().wait()").ok()
    assert kernel.value("(results, failures)") == ({}, {})
    assert re.fullmatch(r"2 of 2 ranks stopped, \d+\.\d s\n", kernel.run("%multiproc kill").ok().stdout)
    assert kernel.value("(results, sorted(failures))") == ({}, [0, 1])
    assert kernel.run("%multiproc stop").ok().stdout == "No run is going on.\n"
    kernel.run("%%multiproc 2 --no-wait --out job\nrank * 10").ok()
    kernel.run("job.wait()").ok()
    assert kernel.value("job.results") == {0: 0, 1: 10}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stacks x", "%multiproc stacks: it takes numbers of ranks and ranges of them, as in 0,2-3, not 'x'."),
        ("stop 3", "%multiproc stop takes nothing more."),
        ("stak", "there is no command 'stak', did you mean stacks?"),
    ],
)
def test_commands_that_make_no_sense(kernel: Kernel, line: str, words: str) -> None:
    reply = kernel.run(f"%multiproc {line}")
    assert reply.ename == "UsageError"
    assert words in reply.evalue


def test_restarts(kernel: Kernel) -> None:
    cell = "%%multiproc 2 --max-restarts 2 --out job\nimport os\nk = int(os.environ['TORCHELASTIC_RESTART_COUNT'])\n"
    reply = kernel.run(f"{cell}print('attempt', k)\nif k < 2 and rank: raise ValueError(k)\nk").ok()
    assert kernel.value("job.results") == {0: 2, 1: 2}
    assert kernel.value("[a.root_cause.exception.args for a in job.attempts[:-1]]") == [(0,), (1,)]
    for k in range(3):
        assert f"[1] attempt {k}\n" in reply.stdout


def test_local_variables_on_request(kernel: Kernel) -> None:
    kernel.run("def helper(n):\n    twice = 2 * n\n    return twice / 0").ok()
    reply = kernel.run("%%multiproc 1 --locals\nimport os\nseven = 7\nhelper(seven)")
    assert (
        "ZeroDivisionError: division by zero\n\nVariables, the innermost frame first:\n"
        f"  Cell In[{reply.count - 1}], line 3, in helper\n    n = 7\n    twice = 14\n"
        f"  Cell In[{reply.count}], line 4\n    seven = 7"
    ) in reply.traceback
    assert "twice = 14" not in kernel.run("%%multiproc 1\nhelper(7)").traceback


def test_ranks_that_do_nothing_are_told_of(kernel: Kernel) -> None:
    running = kernel.begin("%%multiproc 2 --stall 0.5\nimport threading\nif rank: threading.Event().wait()")
    running.wait_for(
        "rank 1 has neither computed nor written for", "rank 1: waiting in wait, Cell In[", stream="stderr"
    )
    kernel.interrupt()
    assert running.finish().ename == "KeyboardInterrupt"


def test_ranks_that_are_late_are_told_of(kernel: Kernel) -> None:
    running = kernel.begin("%%multiproc 2 --straggler 0.5\nif rank:\n    while True: pass")
    running.wait_for("rank 1 still at work", stream="stderr")
    kernel.interrupt()
    assert running.finish().ename == "KeyboardInterrupt"


def test_a_comment_behind_a_command(kernel: Kernel) -> None:
    assert (
        kernel.run("%multiproc doctor  # how's that")
        .ok()
        .stdout.startswith(kernel.run("%multiproc doctor").stdout[:20])
    )
    assert "%%multiproc 4" in kernel.run("%multiproc").evalue
